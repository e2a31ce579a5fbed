#include "core/checkpoint/retention.h"

#include <catch2/catch.hpp>

#include "core/checkpoint/checkpoint_folder.h"
#include "core/error.h"
#include "tests/core/checkpoint/checkpoint_files.h"

using namespace nemo;
using namespace nemo::test;
using Catch::Matchers::Contains;
namespace fs = std::filesystem;

namespace {

std::string save(const TemporaryFolder& folder, int64_t step) {
  const std::string path = folder / checkpoint_name(step);
  const std::string bytes = "12345678";
  const std::vector<BoxToSave> boxes{{whole_box("weight/w", {8}), DType::int8, as_byte_span(bytes)}};
  save_checkpoint(path, boxes, {});
  return path;
}

std::vector<std::string> names_in(const TemporaryFolder& folder) {
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder.path()))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

TEST_CASE("A checkpoint's name and its step belong together", "[checkpoint][retention]") {
  CHECK(checkpoint_name(100) == "step_000000100");
  CHECK(checkpoint_name(12345678901) == "step_12345678901");
  CHECK(step_of_checkpoint("step_000000100") == 100);
  CHECK(step_of_checkpoint("step_12345678901") == 12345678901);
  for (const char* other :
       {"step_100", "step_00000010x", "best", "step_", "xstep_000000100", "step_99999999999999999999"}) {
    CHECK(step_of_checkpoint(other) == std::nullopt);
  }
}

TEST_CASE("The newest good checkpoint is found, and the bad ones are named", "[checkpoint][retention]") {
  const TemporaryFolder folder;
  CHECK(latest_checkpoint(folder.path()).path == std::nullopt);
  CHECK(latest_checkpoint(folder / "absent").path == std::nullopt);
  const std::string first = save(folder, 9), second = save(folder, 10);
  CHECK(latest_checkpoint(folder.path()).path == second);
  CHECK(latest_checkpoint(folder.path()).skipped.empty());
  write_file(folder / "step_000000011", "a file");
  fs::create_directories(folder / "step_000000012.partial");
  const LatestCheckpoint latest = latest_checkpoint(folder.path());
  CHECK(latest.path == second);
  REQUIRE(latest.skipped.size() == 2);
  CHECK(latest.skipped[0].path == folder / "step_000000012.partial");
  CHECK(latest.skipped[0].reason == "its save was interrupted");
  CHECK_THAT(latest.skipped[1].reason, Contains("is not a checkpoint folder"));
  const std::string shard = second + "/shard-00000-of-00001.safetensors";
  std::string bytes = read_file(shard);
  bytes.back() ^= 1;
  write_file(shard, bytes);
  CHECK(latest_checkpoint(folder.path()).path == second);  // sizes alone do not see it
  CHECK(latest_checkpoint(folder.path(), CheckDepth::checksums).path == first);
  fs::resize_file(shard, 10);
  CHECK(latest_checkpoint(folder.path()).path == first);
  fs::remove(first + "/manifest.json");
  CHECK(latest_checkpoint(folder.path()).path == std::nullopt);
  CHECK(latest_checkpoint(folder.path()).skipped.size() == 4);
}

TEST_CASE("Pruning keeps the last ones and clears remains", "[checkpoint][retention]") {
  const TemporaryFolder folder;
  for (const int64_t step : {1, 2, 3, 4}) save(folder, step);
  const std::string newest = save(folder, 5);
  save(folder, 6);                                      // of a run that went further
  fs::remove(folder / "step_000000004/manifest.json");  // an interrupted removal
  fs::create_directories(folder / "step_000000003.partial");
  fs::create_directories(folder / "mine");
  CHECK(prune_checkpoints(folder.path(), 0, newest).empty());
  const std::vector<std::string> removed = prune_checkpoints(folder.path(), 2, newest);
  CHECK(removed == std::vector<std::string>{folder / "step_000000004", folder / "step_000000003.partial",
                                            folder / "step_000000002", folder / "step_000000001"});
  CHECK(names_in(folder) == std::vector<std::string>{"mine", "step_000000003", "step_000000005", "step_000000006"});
  prune_checkpoints(folder.path(), 1, newest);
  CHECK(names_in(folder) == std::vector<std::string>{"mine", "step_000000005", "step_000000006"});
}
