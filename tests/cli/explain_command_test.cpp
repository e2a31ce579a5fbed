#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "tests/cli/nemo_process.h"

using Catch::Matchers::Contains;
using nemo::testing::run_nemo;

TEST_CASE("explain shows each value with its origin and what follows", "[cli]") {
  const auto result = run_nemo({"explain", "gpt2_124m", "optim.lr=1e-4", "trainer.train_iters=2000"});
  CHECK(result.exit_code == 0);
  CHECK_THAT(result.out, Contains("command line") && Contains("preset gpt2_124m") &&
                             Contains("recipe gpt2_124m.yaml:") && Contains("base _pretrain.yaml:") &&
                             Contains("default") && Contains("derived"));
  CHECK_THAT(result.out, Contains("124,439,808") && Contains("50,257, padded to 50,304") && Contains("524,288"));
  CHECK(result.err == "note: command line: trainer.train_iters is read as trainer.max_steps\n");
}

TEST_CASE("explain shows which layers multiply in fp8", "[cli][fp8]") {
  CHECK_THAT(run_nemo({"explain", "gpt2_124m"}).out, !Contains("fp8 products"));
  CHECK_THAT(run_nemo({"explain", "gpt2_124m", "trainer.precision=fp8-mixed", "trainer.first_last_layers_bf16=true"}).out,
             Contains("fp8 products") && Contains("linears of layers 1 to 10"));
}

TEST_CASE("explain shows what is recomputed and what that leaves of the peak", "[cli][recompute]") {
  const auto run = [](const std::vector<std::string>& settings) {
    std::vector<std::string> arguments = {"explain", "gpt2_124m"};
    arguments.insert(arguments.end(), settings.begin(), settings.end());
    const auto result = run_nemo(arguments);
    CHECK(result.exit_code == 0);
    return result.out;
  };
  CHECK_THAT(run({}), !Contains("recomputed"));
  CHECK_THAT(run({"model.recompute_granularity=full"}), Contains("all layers, in groups of 1; not counted in FLOP"));
  CHECK_THAT(run({"model.recompute_granularity=full", "model.recompute_method=block", "model.recompute_num_layers=3"}),
             Contains("the first 3 of 12 layers; not counted in FLOP"));
  CHECK_THAT(run({"model.recompute_granularity=selective"}), Contains("core_attn of every layer; not counted in FLOP"));
  CHECK_THAT(run({"model.recompute_granularity=selective", "model.recompute_modules=[layernorm, mlp_act]"}),
             Contains("layernorm, mlp_act of every layer; not counted in FLOP"));
}

TEST_CASE("explain plans for as many ranks as asked, also for what cannot run yet", "[cli]") {
  const auto result =
      run_nemo({"explain", "llama3_8b", "parallelism.tensor_model_parallel_size=4", "logger.report=true", "--world-size", "64", "--json"});
  REQUIRE(result.exit_code == 0);
  const auto json = nlohmann::json::parse(result.out);
  CHECK(json["plan"]["world_size"] == 64);
  CHECK(json["plan"]["data_parallel_size"] == 16);
  CHECK(json["plan"]["parameters"] == 8030261248);
  CHECK(json["plan"]["padded_vocab_size"] == 128512);
  CHECK(json["unavailable"][0]["key"] == "logger.report");
  CHECK(json["unavailable"][0]["place"] == "command line");
  for (const auto& value : json["values"])
    if (value["key"] == "model.num_layers") CHECK(value["origin"] == "preset llama3_8b");
}

TEST_CASE("explain reads the tokenizer where it can, and says where it cannot", "[cli]") {
  const auto text = run_nemo({"explain", "gpt_tiny_docs", "--json"});
  REQUIRE(text.exit_code == 0);
  CHECK(nlohmann::json::parse(text.out)["plan"]["vocab_size"] == 257);
  const auto open = run_nemo({"explain", "char_gpt_cpu", "--json"});
  CHECK(nlohmann::json::parse(open.out)["plan"]["parameters"].is_null());
  const auto gone = run_nemo({"explain", "gpt2_124m", "tokenizer.type=huggingface", "tokenizer.model=/nowhere"});
  CHECK(gone.exit_code == 0);
  CHECK_THAT(gone.err, Catch::StartsWith("note: the tokenizer is left out: /nowhere"));
  CHECK_THAT(gone.out, Contains("124,439,808"));
  CHECK(run_nemo({"explain", "gpt_tiny_docs", "model.vocab_size=100"}).err ==
        "nemo: command line: model.vocab_size: 100 is below the tokenizer's 257 tokens; try: model.vocab_size=257, or "
        "another tokenizer\n");
}

TEST_CASE("explain refuses what cannot be, with exit code 2", "[cli]") {
  const auto batch = run_nemo({"explain", "gpt2_124m", "data.global_batch_size=100"});
  CHECK(batch.exit_code == 2);
  CHECK(batch.out.empty());
  CHECK(batch.err ==
        "nemo: command line: data.global_batch_size: 100 is not a multiple of micro_batch_size x data-parallel size "
        "(32 x 1); try: use 96 or 128\n");
  CHECK(run_nemo({"explain", "gpt2_142m"}).err == "nemo: gpt2_142m: no recipe has this name; try: gpt2_124m\n");
  CHECK(run_nemo({"explain", "/nowhere/x.yaml"}).err ==
        "nemo: /nowhere/x.yaml: no such file; try: nemo recipes ls lists the shipped recipes\n");
  CHECK(run_nemo({"explain", "gpt2_124m", "--world-size", "0"}).exit_code == 2);
}
