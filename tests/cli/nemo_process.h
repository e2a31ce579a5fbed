// Runs the nemo binary that the build put beside the test binary, and keeps what it said.
// Not here: what it ought to have said (the tests).
#pragma once
#include <string>
#include <vector>

namespace nemo::testing {

struct ProcessResult {
  int exit_code = 0;  // 128 + signal when a signal ended it
  std::string out, err;
};

// `environment` holds "NAME=value" entries put over this process's own. Standard input is empty.
ProcessResult run_nemo(const std::vector<std::string>& arguments, const std::vector<std::string>& environment = {});

}  // namespace nemo::testing
