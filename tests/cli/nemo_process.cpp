#include "tests/cli/nemo_process.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <stdexcept>

namespace nemo::testing {
namespace {

using File = std::unique_ptr<FILE, int (*)(FILE*)>;

File temporary_file() {
  File file(std::tmpfile(), std::fclose);
  if (!file) throw std::runtime_error("no temporary file for a child's output");
  return file;
}

std::string contents(FILE* file) {
  std::string text;
  std::rewind(file);
  for (int byte; (byte = std::fgetc(file)) != EOF;) text.push_back(static_cast<char>(byte));
  return text;
}

}  // namespace

ProcessResult run_nemo(const std::vector<std::string>& arguments, const std::vector<std::string>& environment) {
  const std::string binary = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "nemo";
  std::vector<char*> argv{const_cast<char*>(binary.c_str())};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  File out = temporary_file(), err = temporary_file();
  const pid_t child = fork();
  if (child < 0) throw std::runtime_error("fork failed");
  if (child == 0) {
    for (const std::string& entry : environment) putenv(const_cast<char*>(entry.c_str()));
    dup2(open("/dev/null", O_RDONLY), STDIN_FILENO);
    dup2(fileno(out.get()), STDOUT_FILENO);
    dup2(fileno(err.get()), STDERR_FILENO);
    execv(binary.c_str(), argv.data());
    _exit(127);  // no such binary
  }
  int status = 0;
  waitpid(child, &status, 0);
  return {WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status), contents(out.get()), contents(err.get())};
}

}  // namespace nemo::testing
