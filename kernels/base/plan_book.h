// Which algorithm of a library does which product, as text: what timing chose, and what a later process repeats.
// Not here: how it is chosen (kernels/gemm, kernels/attention), the files it is kept in (core/device/plan_cache.h).
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace nemo::kernels {

class PlanBook {
 public:
  struct Library {
    int64_t version = 0;
    std::map<std::string, std::string> plans;  // by what is computed
    bool operator==(const Library&) const = default;
  };
  using Libraries = std::map<std::string, Library>;

  // Plans from elsewhere; where two sources know the same product, the one added later wins. Plans of a library whose
  // version is another one than opened are left out, which take_notices() tells under the name of the source.
  void add(const std::string& source, Libraries libraries);
  // A library is loaded and has this version: from now on its plans can be found.
  void open(const std::string& library, int64_t version);

  const std::string* find(const std::string& library, const std::string& product) const;  // null: nobody chose yet
  void keep(const std::string& library, const std::string& product, std::string plan);

  const Libraries& opened() const { return opened_; }
  bool take_changed() { return std::exchange(changed_, false); }  // something was kept since the last call
  // Something a person should read once.
  void notice(std::string text) { notices_.push_back(std::move(text)); }
  std::vector<std::string> take_notices() { return std::exchange(notices_, {}); }

 private:
  void join(const std::string& source, const std::string& library, Library&& plans);

  struct Waiting {
    std::string source;
    Libraries libraries;
  };
  std::vector<Waiting> waiting_;  // for their library to be opened
  Libraries opened_;
  bool changed_ = false;
  std::vector<std::string> notices_;
};

}  // namespace nemo::kernels
