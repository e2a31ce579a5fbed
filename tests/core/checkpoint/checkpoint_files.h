// What tests of checkpoints do with files, and how they look at errors. Not here: anything under test.
#pragma once
#include <fstream>
#include <iterator>
#include <string>

#include "tests/temporary_folder.h"

namespace nemo::test {

inline void write_file(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}
inline std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// The text of the exception that `action` throws, "" when it throws none.
template <class Exception, class Action>
std::string error_of(Action&& action) {
  try {
    action();
  } catch (const Exception& error) {
    return error.what();
  }
  return "";
}

}  // namespace nemo::test
