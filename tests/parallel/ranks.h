// Runs a test body on several ranks that are threads, each with a device, a context and groups of its own.
// Not here: assertions (Catch2's are not for threads: bodies throw, by expect() or expect_equal()).
#pragma once
#include <chrono>
#include <functional>
#include <sstream>
#include <stdexcept>
#include <string>

#include "core/exec_context.h"
#include "parallel/comm/thread_group.h"
#include "parallel/mesh_groups.h"

namespace nemo::test {

struct Rank {
  int rank, world_size;
  Runtime& runtime;
  ExecContext& ctx;  // fp32, seed 0
  ThreadGroups& groups;

  ProcessGroup world() const;  // a new group of all ranks; every rank must ask
};

// Throws the error of the rank that failed first, with its rank; the others are woken. deadline: of each exchange.
void run_ranks(int world_size, const std::function<void(Rank&)>& body,
               std::chrono::milliseconds deadline = std::chrono::seconds(60));

inline void expect(bool holds, const std::string& what) {
  if (!holds) throw std::runtime_error("not so: " + what);
}

template <class A, class B>
void expect_equal(const A& actual, const B& expected, const std::string& what) {
  if (actual == expected) return;
  std::ostringstream text;
  text << what << ": is " << actual << ", expected " << expected;
  throw std::runtime_error(text.str());
}

}  // namespace nemo::test
