#include "core/checkpoint/checkpoint_writer.h"

#include <catch2/catch.hpp>
#include <cstring>

#include "core/checkpoint/retention.h"
#include "core/error.h"
#include "tests/core/checkpoint/checkpoint_files.h"

using namespace nemo;
using namespace nemo::test;
namespace fs = std::filesystem;

namespace {

Snapshot snapshot_of(char fill, size_t size) {
  Snapshot snapshot;
  snapshot.tensors.push_back({whole_box("weight/w", {static_cast<int64_t>(size)}), DType::int8,
                              std::vector<std::byte>(size, std::byte(fill))});
  snapshot.files["state.json"] = std::string(1, fill);
  return snapshot;
}

char content(const std::string& path) {
  CheckpointFolder folder(path);
  folder.verify();
  return folder.read_side_file("state.json")[0];
}

}  // namespace

TEST_CASE("Saves beside training are all written, in order, and pruned", "[checkpoint][writer]") {
  const TemporaryFolder folder;
  {
    CheckpointWriter writer;
    for (int64_t step = 1; step <= 4; ++step) {
      Snapshot snapshot = snapshot_of(static_cast<char>('0' + step), 1 << 20);
      writer.save(folder / checkpoint_name(step), std::move(snapshot), 2);
    }
  }  // waits for the last
  CHECK_FALSE(fs::exists(folder / checkpoint_name(2)));
  CHECK(content(folder / checkpoint_name(3)) == '3');
  CHECK(content(folder / checkpoint_name(4)) == '4');
}

TEST_CASE("A failed save is thrown by the next call, once, and costs no snapshot", "[checkpoint][writer]") {
  const TemporaryFolder folder;
  write_file(folder / "file", "x");
  CheckpointWriter writer;
  writer.save(folder / "file/step_000000001", snapshot_of('1', 8));  // a file cannot hold a folder
  Snapshot snapshot = snapshot_of('2', 8);
  const std::string error =
      error_of<CheckpointError>([&] { writer.save(folder / "step_000000002", std::move(snapshot)); });
  CHECK(error == (folder / "file/step_000000001") + ": Not a directory");
  CHECK(snapshot.tensors.size() == 1);
  writer.save(folder / "step_000000002", std::move(snapshot));
  writer.wait();
  CHECK_FALSE(writer.busy());
  CHECK(content(folder / "step_000000002") == '2');
  writer.save(folder / "file/step_000000003", snapshot_of('3', 8));
  CHECK_FALSE(error_of<CheckpointError>([&] { writer.wait(); }).empty());
  writer.wait();
}

TEST_CASE("The background save writes the same bytes as a save in place", "[checkpoint][writer]") {
  const TemporaryFolder folder;
  fs::create_directories(folder / "a");
  fs::create_directories(folder / "b");
  CheckpointWriter writer;
  writer.save(folder / "a/step_000000001", snapshot_of('1', 1000));
  writer.wait();
  save_checkpoint(folder / "b/step_000000001", snapshot_of('1', 1000));
  for (const char* name : {"manifest.json", "shard-00000-of-00001.safetensors"}) {
    CHECK(read_file(folder / (std::string("a/step_000000001/") + name)) ==
          read_file(folder / (std::string("b/step_000000001/") + name)));
  }
}
