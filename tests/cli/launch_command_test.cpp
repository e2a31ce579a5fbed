#include "cli/launch_command.h"

#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <future>
#include <thread>

#include "cli/node_agent.h"
#include "core/error.h"
#include "parallel/store/socket.h"
#include "tests/cli/nemo_process.h"
#include "tests/temporary_folder.h"

using Catch::Matchers::Contains;
using namespace nemo;
using nemo::testing::ProcessResult;
using nemo::testing::run_nemo;

namespace {

const std::vector<std::string> kTiny = {
    "pretrain", "char_gpt_cpu", "data.mock=true", "model.vocab_size=64", "tokenizer.type=none", "--device", "cpu"};

std::vector<std::string> with(std::vector<std::string> arguments, const std::vector<std::string>& more) {
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

// A run of seconds that keeps its results in a folder.
std::vector<std::string> small_run(const nemo::test::TemporaryFolder& folder) {
  return with(kTiny, {"run.results_dir=" + folder.path(), "model.num_layers=2", "model.hidden_size=32",
                      "model.num_attention_heads=2", "model.seq_length=16", "data.micro_batch_size=1",
                      "data.global_batch_size=4", "trainer.val_check_interval=2", "trainer.limit_val_batches=1"});
}

uint16_t free_port() {
  return local_port(listen_on({"127.0.0.1", 0}));
}

std::vector<std::string> rank_environment(int rank, int world_size, uint16_t port) {
  return {"RANK=" + std::to_string(rank), "WORLD_SIZE=" + std::to_string(world_size),
          "LOCAL_RANK=" + std::to_string(rank), "MASTER_ADDR=127.0.0.1", "MASTER_PORT=" + std::to_string(port)};
}

// Node agents that are processes of their own, running a shell script as ranks.
pid_t start_agent(const std::string& script, int num_nodes, uint16_t port, int max_restarts, const std::string& log,
                  int join_timeout_s = 20) {
  const pid_t child = fork();
  if (child != 0) return child;
  int code = 1;
  const auto say = [&](const std::string& line) { std::ofstream(log, std::ios::app) << line << "\n"; };
  try {
    code = run_node_agent({.num_nodes = num_nodes,
                           .ranks_per_node = 2,
                           .max_restarts = max_restarts,
                           .rendezvous = {"127.0.0.1", port},
                           .join_timeout = std::chrono::seconds(join_timeout_s),
                           .command = {"/bin/sh", "-c", script},
                           .say = say});
  } catch (const std::exception& error) {
    say(error.what());
  }
  _exit(code);
}

int exit_code(pid_t child) {
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

std::string text_of(const std::string& file) {
  std::ifstream stream(file);
  return {std::istreambuf_iterator<char>(stream), {}};
}

}  // namespace

TEST_CASE("local ranks train, save together and go on under another layout", "[cli][launch]") {
  const nemo::test::TemporaryFolder folder;
  const auto train = [&](const std::vector<std::string>& more) { return run_nemo(with(small_run(folder), more)); };
  const ProcessResult first =
      train({"trainer.max_steps=2", "parallelism.data_parallel_sharding_strategy=optim_grads_params",
             "--nproc-per-node", "2"});
  INFO(first.err);
  REQUIRE(first.exit_code == 0);
  CHECK_THAT(first.out, Contains("done after step 2"));
  CHECK(first.out.find("done after") == first.out.rfind("done after"));
  const ProcessResult second = train({"trainer.max_steps=4", "parallelism.pipeline_model_parallel_size=2",
                                      "--nproc-per-node", "2", "--resume", "auto"});
  INFO(second.err);
  REQUIRE(second.exit_code == 0);
  CHECK_THAT(second.out, Contains("at step 2") && Contains("done after step 4"));
  const ProcessResult third = train({"trainer.max_steps=5", "--resume", "auto"});
  INFO(third.err);
  CHECK_THAT(third.out, Contains("at step 4") && Contains("done after step 5"));
}

TEST_CASE("a wrong recipe is told once, before any rank starts", "[cli][launch]") {
  const ProcessResult result = run_nemo(with(kTiny, {"optim.lr=-1", "--nproc-per-node", "2"}));
  CHECK(result.exit_code == 2);
  CHECK(result.err.find("optim.lr") == result.err.rfind("optim.lr"));
  CHECK(result.err.find("rank") == std::string::npos);
}

TEST_CASE("under torchrun's environment each process is one rank; recipes are compared", "[cli][launch]") {
  const uint16_t port = free_port();
  const auto start = [&](int rank, const std::vector<std::string>& more) {
    return std::async(std::launch::async, [=] { return run_nemo(with(kTiny, more), rank_environment(rank, 2, port)); });
  };
  auto second = start(1, {"optim.lr=0.5"});
  auto first = start(0, {"parallelism.comm_timeout_s=20"});
  const ProcessResult rank0 = first.get(), rank1 = second.get();
  CHECK(rank0.exit_code == 1);
  CHECK(rank1.exit_code == 1);
  CHECK_THAT(rank0.err, Contains("start: rank 1 differs: "));
  CHECK_THAT(rank1.err, Contains("try: the message of rank 0"));
}

TEST_CASE("an environment that cannot be is refused fast", "[cli][launch]") {
  const uint16_t port = free_port();
  CHECK_THAT(run_nemo(with(kTiny, {"parallelism.comm_timeout_s=0.5"}), rank_environment(1, 2, port)).err,
             Contains("rendezvous: 127.0.0.1:" + std::to_string(port) + ": cannot be reached"));
  const FileDescriptor taken = listen_on({"127.0.0.1", port});
  CHECK_THAT(run_nemo(kTiny, rank_environment(0, 2, port)).err,
             Contains(std::to_string(port) + ": the port is in use"));
  CHECK_THAT(run_nemo(with(kTiny, {"--nproc-per-node", "2"}), rank_environment(0, 2, port)).err,
             Contains("this process is already rank 0 of 2"));
  CHECK_THAT(run_nemo(kTiny, {"RANK=0"}).err, Contains("environment: WORLD_SIZE: is not set"));
}

TEST_CASE("nemo launch runs the ranks of its machine", "[cli][launch]") {
  const std::string endpoint = "127.0.0.1:" + std::to_string(free_port());
  const nemo::test::TemporaryFolder folder;
  const ProcessResult result =
      run_nemo(with(with({"launch", "--nproc-per-node", "2", "--rdzv-endpoint", endpoint, "--"}, small_run(folder)),
                    {"trainer.max_steps=2", "parallelism.tensor_model_parallel_size=2"}));
  INFO(result.err);
  CHECK(result.exit_code == 0);
  CHECK_THAT(result.err, Contains("launch: node 0 of 1: ranks 0 to 1"));
  CHECK_THAT(result.out, Contains("done after step 2"));
  CHECK_THAT(run_nemo({"launch", "--", "doctor"}).err,
             Contains("nemo launch: doctor: is not a command that runs on several ranks"));
  CHECK_THAT(run_nemo({"launch", "--rdzv-endpoint", "nowhere", "--", "pretrain", "x"}).err,
             Contains("--rdzv-endpoint: 'nowhere' is not host:port"));
}

TEST_CASE("two nodes meet in any order and number their ranks through", "[launch]") {
  const test::TemporaryFolder folder;
  const uint16_t port = free_port();
  const std::string script = "echo $RANK/$WORLD_SIZE $LOCAL_RANK >> " + (folder / "ranks");
  const pid_t one = start_agent(script, 2, port, 0, folder / "one");
  usleep(300000);
  const pid_t two = start_agent(script, 2, port, 0, folder / "two");
  CHECK(exit_code(one) == 0);
  CHECK(exit_code(two) == 0);
  const std::string ranks = text_of(folder / "ranks");
  for (const char* each : {"0/4 0\n", "1/4 1\n", "2/4 0\n", "3/4 1\n"}) CHECK_THAT(ranks, Contains(each));
}

TEST_CASE("a failed rank restarts all nodes a bounded number of times", "[launch]") {
  const test::TemporaryFolder folder;
  const uint16_t port = free_port();
  // Rank 3 fails in the first two rounds; the others would wait for it.
  const std::string script = "echo $NEMO_STORE_PREFIX >> " + (folder / "rounds") + "$RANK; n=$(wc -l < " +
                             (folder / "rounds") +
                             "$RANK); [ $n -ge 3 ] && exit 0; [ $RANK = 3 ] && exit 5; exec sleep 60";
  for (const int restarts : {2, 1}) {
    const pid_t one = start_agent(script, 2, port, restarts, folder / "one"),
                two = start_agent(script, 2, port, restarts, folder / "two");
    const int codes[] = {exit_code(one), exit_code(two)};
    if (restarts == 2) {
      CHECK(codes[0] + codes[1] == 0);
      CHECK(text_of(folder / "rounds0") == "run/0/\nrun/1/\nrun/2/\n");
    } else {
      CHECK(std::max(codes[0], codes[1]) == 5);
      CHECK(std::min(codes[0], codes[1]) >= 1);
    }
    CHECK_THAT(text_of(folder / "one") + text_of(folder / "two"),
               Contains("rank 3 (process ") && Contains("exited with code 5; restart 1 of"));
    for (int rank = 0; rank < 4; ++rank) std::filesystem::remove(folder / ("rounds" + std::to_string(rank)));
  }
}

TEST_CASE("a node too many, other numbers, and nodes that do not come are explained", "[launch]") {
  const test::TemporaryFolder folder;
  const uint16_t port = free_port();
  const pid_t one = start_agent("sleep 2", 1, port, 0, folder / "one");
  usleep(500000);
  const pid_t extra = start_agent("sleep 2", 1, port, 0, folder / "extra"),
              other = start_agent("sleep 2", 3, port, 0, folder / "other");
  CHECK(exit_code(extra) == 1);
  CHECK_THAT(text_of(folder / "extra"),
             Contains("all 1 nodes of the run at 127.0.0.1:" + std::to_string(port) + " are there already"));
  CHECK(exit_code(other) == 1);
  CHECK_THAT(text_of(folder / "other"), Contains("--nnodes 3 --nproc-per-node 2: the run at") &&
                                            Contains("was started with --nnodes 1 --nproc-per-node 2"));
  CHECK(exit_code(one) == 0);
  const pid_t alone = start_agent("true", 2, port, 0, folder / "alone", 1);
  CHECK(exit_code(alone) == 1);
  CHECK_THAT(text_of(folder / "alone"), Contains("nemo launch: nodes: 1 of 2 came within 1 s: "));
}
