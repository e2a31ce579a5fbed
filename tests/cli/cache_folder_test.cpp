#include "cli/cache_folder.h"

#include <stdlib.h>

#include <catch2/catch.hpp>
#include <optional>

using namespace nemo;

namespace {

// A variable of the environment for the length of a test; null takes it away.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) {
    if (const char* before = ::getenv(name)) before_ = before;
    if (value != nullptr)
      ::setenv(name, value, 1);
    else
      ::unsetenv(name);
  }
  ~Variable() {
    if (before_)
      ::setenv(name_, before_->c_str(), 1);
    else
      ::unsetenv(name_);
  }
  Variable(const Variable&) = delete;

 private:
  const char* name_;
  std::optional<std::string> before_;
};

}  // namespace

TEST_CASE("plans are kept in the user's cache folder, in a named one, or nowhere", "[cli]") {
  CHECK(plan_folder("none").empty());
  CHECK(plan_folder("some/where") == "some/where");
  const Variable home("HOME", "/home/ada");
  {
    const Variable cache("XDG_CACHE_HOME", "/var/ada");
    CHECK(plan_folder("auto") == "/var/ada/nemo");
  }
  {
    const Variable cache("XDG_CACHE_HOME", "relative");  // not allowed by its specification, so not believed
    CHECK(plan_folder("auto") == "/home/ada/.cache/nemo");
  }
  const Variable cache("XDG_CACHE_HOME", nullptr);
  CHECK(plan_folder("auto") == "/home/ada/.cache/nemo");
  const Variable homeless("HOME", nullptr);
  CHECK(plan_folder("auto").empty());
}
