#include "cli/local_ranks.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>

#include "core/error.h"
#include "parallel/store/socket.h"

extern char** environ;

namespace nemo {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kCannotStart = 127;

// The names in `entries` replace those inherited.
std::vector<std::string> child_environment(const std::vector<std::string>& entries) {
  std::map<std::string, std::string> by_name;
  const auto put = [&](const std::string& entry) { by_name[entry.substr(0, entry.find('='))] = entry; };
  for (char** entry = environ; *entry != nullptr; ++entry) put(*entry);
  for (const std::string& entry : entries) put(entry);
  std::vector<std::string> environment;
  for (auto& [name, entry] : by_name) environment.push_back(std::move(entry));
  return environment;
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> result;
  for (std::string& each : strings) result.push_back(each.data());
  result.push_back(nullptr);
  return result;
}

struct Child {
  int rank;
  pid_t pid;
  FileDescriptor output;  // what it prints, unless it is rank 0
  std::string line;       // the beginning of one
  std::optional<int> status;
};

class Supervisor {
 public:
  Supervisor(const SignalQueue& signals, const LocalRanksOptions& options) : signals_(signals), options_(options) {}
  ~Supervisor() {  // only after an exception are there any left
    for (const Child& child : children_)
      if (!child.status) {
        kill(child.pid, SIGKILL);
        waitpid(child.pid, nullptr, 0);
      }
  }

  LocalRanksResult run() {
    for (int index = 0; index < options_.num_ranks; ++index) start(index);
    while (std::any_of(children_.begin(), children_.end(), [](const Child& child) { return !child.status; })) {
      listen();
      reap();
      if (!ending_ && options_.give_up && options_.give_up()) {
        result_.gave_up = true;
        result_.exit_code = 1;
        end_all();
      }
      if (ending_ && Clock::now() >= kill_at_) send_all(SIGKILL);
    }
    for (Child& child : children_) {
      read_output(child);
      if (!child.line.empty()) say(child, child.line);
    }
    if (!result_.failed_rank && result_.signal != 0) result_.exit_code = 128 + result_.signal;
    return result_;
  }

 private:
  void start(int index) {
    Child child{.rank = options_.first_rank + index, .pid = 0, .output = {}, .line = {}, .status = {}};
    std::vector<std::string> entries = options_.environment;
    entries.push_back("RANK=" + std::to_string(child.rank));
    entries.push_back("LOCAL_RANK=" + std::to_string(index));
    entries.push_back("LOCAL_WORLD_SIZE=" + std::to_string(options_.num_ranks));
    entries.push_back("WORLD_SIZE=" + std::to_string(options_.world_size));
    std::vector<std::string> environment = child_environment(entries), arguments = options_.command;
    const std::vector<char*> argv = pointers(arguments), envp = pointers(environment);
    int ends[2] = {-1, -1};
    if (child.rank != 0 && pipe2(ends, O_CLOEXEC) != 0) throw Error("", "pipe", std::strerror(errno));
    child.output = FileDescriptor(ends[0]);
    const FileDescriptor write_end(ends[1]), nothing(open("/dev/null", O_RDONLY | O_CLOEXEC));
    const pid_t parent = getpid();
    child.pid = fork();
    if (child.pid < 0)
      throw Error("", "rank " + std::to_string(child.rank), std::string("cannot be started: ") + std::strerror(errno),
                  "a smaller --nproc-per-node");
    if (child.pid == 0) {
      setpgid(0, 0);  // Ctrl+C reaches this process alone, which passes it on once
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (getppid() != parent) _exit(kCannotStart);
      dup2(nothing.get(), STDIN_FILENO);
      if (write_end.get() >= 0) {
        dup2(write_end.get(), STDOUT_FILENO);
        dup2(write_end.get(), STDERR_FILENO);
      }
      // What came while they were blocked is for the default action, not for handlers of this program.
      for (const int signal : {SIGINT, SIGTERM, SIGCHLD}) std::signal(signal, SIG_DFL);
      sigprocmask(SIG_SETMASK, &signals_.before(), nullptr);
      execve(argv[0], argv.data(), envp.data());
      _exit(kCannotStart);
    }
    if (child.output.get() >= 0) fcntl(child.output.get(), F_SETFL, O_NONBLOCK);
    children_.push_back(std::move(child));
  }

  void listen() {
    std::vector<pollfd> polled{{signals_.descriptor(), POLLIN, 0}};
    for (const Child& child : children_)
      polled.push_back({child.output.get(), POLLIN, 0});  // poll skips those that are -1
    if (poll(polled.data(), polled.size(), 100) < 0) return;
    for (size_t i = 0; i < children_.size(); ++i)
      if (polled[i + 1].revents != 0) read_output(children_[i]);
    signalfd_siginfo info;
    while (read(signals_.descriptor(), &info, sizeof(info)) == sizeof(info))
      if (info.ssi_signo != SIGCHLD) pass_on(static_cast<int>(info.ssi_signo));
  }

  void pass_on(int signal) {
    const bool again = result_.signal != 0;
    result_.signal = signal;
    send_all(again ? SIGKILL : signal);
  }

  void read_output(Child& child) {
    char buffer[8192];
    ssize_t count = 0;
    while (child.output.get() >= 0 && (count = read(child.output.get(), buffer, sizeof(buffer))) > 0) {
      child.line.append(buffer, static_cast<size_t>(count));
      for (size_t end; (end = child.line.find('\n')) != std::string::npos; child.line.erase(0, end + 1))
        say(child, child.line.substr(0, end));
    }
    if (count == 0) child.output = FileDescriptor();
  }

  void say(const Child& child, const std::string& line) {
    if (options_.on_line) options_.on_line("[rank " + std::to_string(child.rank) + "] " + line);
  }

  void reap() {
    const Child* failed = nullptr;
    for (Child& child : children_) {
      int status = 0;
      if (child.status || waitpid(child.pid, &status, WNOHANG) != child.pid) continue;
      child.status = status;
      const bool well = WIFEXITED(status) && (WEXITSTATUS(status) == 0 ||
                                              (result_.signal != 0 && WEXITSTATUS(status) == 128 + result_.signal));
      // Of several that ended at once, the one that was killed is the cause: the others saw it go.
      if (!well && (failed == nullptr || (WIFSIGNALED(status) && !WIFSIGNALED(*failed->status)))) failed = &child;
    }
    if (failed == nullptr || ending_) return;
    const int status = *failed->status;
    result_.failed_rank = failed->rank;
    result_.reason = "rank " + std::to_string(failed->rank) + " (process " + std::to_string(failed->pid) + ") ";
    if (WIFSIGNALED(status)) {
      result_.exit_code = 128 + WTERMSIG(status);
      result_.reason +=
          "was ended by signal " + std::to_string(WTERMSIG(status)) + " (" + strsignal(WTERMSIG(status)) + ")";
    } else {
      result_.exit_code = WEXITSTATUS(status);
      result_.reason += WEXITSTATUS(status) == kCannotStart ? "could not be started"
                                                            : "exited with code " + std::to_string(WEXITSTATUS(status));
    }
    end_all();
  }

  void end_all() {
    ending_ = true;
    kill_at_ = Clock::now() + options_.grace;
    send_all(SIGTERM);
  }

  void send_all(int signal) {
    for (const Child& child : children_)
      if (!child.status) kill(child.pid, signal);
  }

  const SignalQueue& signals_;
  const LocalRanksOptions& options_;
  std::vector<Child> children_;
  LocalRanksResult result_;
  bool ending_ = false;
  Clock::time_point kill_at_ = {};
};

}  // namespace

SignalQueue::SignalQueue() {
  sigset_t handled;
  sigemptyset(&handled);
  for (const int signal : {SIGINT, SIGTERM, SIGCHLD}) sigaddset(&handled, signal);
  sigprocmask(SIG_BLOCK, &handled, &before_);
  descriptor_ = signalfd(-1, &handled, SFD_CLOEXEC | SFD_NONBLOCK);
}

SignalQueue::~SignalQueue() {
  close(descriptor_);
  sigprocmask(SIG_SETMASK, &before_, nullptr);
}

LocalRanksResult run_local_ranks(const SignalQueue& signals, const LocalRanksOptions& options) {
  return Supervisor(signals, options).run();
}

}  // namespace nemo
