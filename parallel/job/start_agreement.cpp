#include "parallel/job/start_agreement.h"

#include <map>
#include <thread>

#include "core/error.h"
#include "parallel/store/store_protocol.h"

namespace nemo {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

std::string pack(const Facts& facts) {
  std::vector<std::string> fields;
  for (const auto& [key, value] : facts) {
    fields.push_back(key);
    fields.push_back(value);
  }
  return store_protocol::make_frame(fields);
}

Facts unpack(std::string text) {
  const auto fields = store_protocol::take_frame(text).fields.value_or(std::vector<std::string>());
  Facts facts;
  for (size_t i = 0; i + 1 < fields.size(); i += 2) facts.emplace_back(fields[i], fields[i + 1]);
  return facts;
}

// Empty when alike, else the first difference.
std::string difference(const Facts& mine, const Facts& theirs) {
  const std::map<std::string, std::string> by_key(theirs.begin(), theirs.end());
  for (const auto& [key, value] : mine) {
    const auto found = by_key.find(key);
    if (found == by_key.end()) return key + " is " + value + " on rank 0 and unknown there";
    if (found->second != value) return key + " is " + found->second + ", on rank 0 " + value;
  }
  if (mine.size() != theirs.size())
    return "has " + std::to_string(theirs.size()) + " settings, rank 0 " + std::to_string(mine.size());
  return "";
}

// What is wrong, as rank 0 tells it; empty when nothing is.
std::string compare_all(StoreClient& store, int world_size, const Facts& facts, milliseconds timeout) {
  const Clock::time_point deadline = Clock::now() + timeout;
  for (int rank = 1; rank < world_size; ++rank) {
    const auto left = std::chrono::duration_cast<milliseconds>(deadline - Clock::now());
    const auto theirs = store.wait("start/facts/" + std::to_string(rank), std::max(left, milliseconds(0)));
    if (!theirs)
      return "rank " + std::to_string(rank) + " of " + std::to_string(world_size) + " has not come within " +
             std::to_string(timeout.count() / 1000) + " s";
    const std::string differs = difference(facts, unpack(*theirs));
    if (!differs.empty()) return "rank " + std::to_string(rank) + " differs: " + differs;
  }
  return "";
}

}  // namespace

void agree_on_start(StoreClient& store, int rank, int world_size, const std::string& me, const Facts& facts,
                    milliseconds deadline) {
  const std::string name = std::to_string(rank);
  const std::string holder = store.compare_set("start/rank/" + name, std::nullopt, me);
  if (holder != me)
    throw CommError{"start", "rank " + name, "is there twice: " + holder + " and " + me,
                    "give each process a RANK of its own, and each job a port of its own"};
  if (rank == 0) {
    const std::string wrong = compare_all(store, world_size, facts, deadline);
    store.set("start/verdict", wrong.empty() ? "go" : "end");
    if (wrong.empty()) return;
    // The store may end with this process: not before those who came have heard.
    for (int i = 0; i < 50 && store.add("start/told", 0) < world_size - 1; ++i)
      std::this_thread::sleep_for(milliseconds(20));
    throw CommError{"start", "", wrong, "the same nemo, recipe and number of ranks on every rank"};
  }
  store.set("start/facts/" + name, pack(facts));
  const auto verdict = store.wait("start/verdict", deadline + milliseconds(5000));
  if (!verdict)
    throw CommError{"start", "rank 0",
                    "has not compared the ranks within " + std::to_string(deadline.count() / 1000) + " s",
                    "look at the log of rank 0"};
  if (*verdict == "go") return;
  store.add("start/told", 1);
  throw CommError{"start", "rank " + name, "ends: the ranks are not alike or not all there", "the message of rank 0"};
}

}  // namespace nemo
