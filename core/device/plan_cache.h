// The plan book of one device, and the text it is kept as: in a file shared by all runs on such a device, and in
// checkpoints. Not here: choosing plans (kernels/gemm, kernels/attention), where the user's cache folder is (cli).
#pragma once
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "kernels/base/plan_book.h"

namespace nemo {

class PlanCache {
 public:
  // device: its name, as the driver says it. Reads the device's file in `folder`; empty: there is no file.
  PlanCache(std::string device, const std::filesystem::path& folder);

  kernels::PlanBook& book() { return book_; }

  // Everything chosen so far; empty where nothing was.
  std::string text() const;
  // Plans that an earlier run chose. They win over those of the file; call it before the first product. Text of another
  // device or that is damaged is left out, which take_notices() tells.
  void add(const std::string& source, const std::string& text);

  // Writes the file when something was chosen since. What other processes wrote meanwhile is kept. Never throws: a
  // cache that cannot be written costs time at the next start, and a notice now.
  void write() noexcept;

  std::vector<std::string> take_notices();

 private:
  std::string device_;
  std::filesystem::path file_;
  kernels::PlanBook book_;
  std::vector<std::string> notices_;
};

}  // namespace nemo
