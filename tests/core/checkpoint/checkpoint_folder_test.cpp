#include "core/checkpoint/checkpoint_folder.h"

#include <signal.h>
#include <sys/resource.h>

#include <catch2/catch.hpp>
#include <numeric>

#include "core/checkpoint/retention.h"
#include "core/error.h"
#include "tests/core/checkpoint/checkpoint_files.h"

using namespace nemo;
using namespace nemo::test;
using Catch::Matchers::Contains;
namespace fs = std::filesystem;

namespace {

using Values = std::vector<float>;

Values counting(size_t size, float first) {
  Values values(size);
  std::iota(values.begin(), values.end(), first);
  return values;
}

const Values kWeight = counting(32, 1), kMoment = counting(32, 100);
const SideFiles kFiles = {{"recipe.yaml", "run: {}\n"}, {"state.json", "{}"}};

std::vector<BoxToSave> whole_boxes() {
  return {{whole_box("weight/w", {4, 8}), DType::fp32, std::as_bytes(std::span(kWeight))},
          {whole_box("exp_avg/w", {4, 8}), DType::fp32, std::as_bytes(std::span(kMoment))}};
}

Values loaded(CheckpointFolder& folder, const std::string& tensor, std::vector<int64_t> offset,
              std::vector<int64_t> extent) {
  const Box box{tensor, {4, 8}, std::move(offset), std::move(extent)};
  Values values(static_cast<size_t>(box.num_elements()));
  const BoxToLoad target{box, DType::fp32, std::as_writable_bytes(std::span(values))};
  folder.load(std::span(&target, 1));
  return values;
}

void flip_byte(const std::string& path, size_t at_from_end) {
  std::string text = read_file(path);
  text[text.size() - at_from_end] ^= 1;
  write_file(path, text);
}

// Files of this process may not grow beyond `bytes` while this lives: a disk that fills, without one.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    ::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_{};
  sighandler_t handler_;
};

}  // namespace

TEST_CASE("A checkpoint is read as written and holds nothing else", "[checkpoint][folder]") {
  const TemporaryFolder temporary;
  const std::string path = temporary / "step_000000001";
  save_checkpoint(path, whole_boxes(), kFiles);
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(path))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  CHECK(names ==
        std::vector<std::string>{"manifest.json", "recipe.yaml", "shard-00000-of-00001.safetensors", "state.json"});
  CHECK_FALSE(fs::exists(path + ".partial"));
  CheckpointFolder folder(path);
  folder.verify();
  CHECK(loaded(folder, "weight/w", {0, 0}, {4, 8}) == kWeight);
  CHECK(loaded(folder, "exp_avg/w", {0, 0}, {4, 8}) == kMoment);
  CHECK(loaded(folder, "weight/w", {1, 2}, {2, 3}) == Values{11, 12, 13, 19, 20, 21});
  CHECK(folder.read_side_file("recipe.yaml") == "run: {}\n");
  CHECK(folder.has_tensor("weight/w"));
  CHECK_FALSE(folder.has_tensor("weight/x"));
  CHECK(folder.has_file("state.json"));
  CHECK(error_of<CheckpointError>([&] { folder.read_side_file("x"); }) == path + ": x: is not in this checkpoint");
}

TEST_CASE("Shards of several ranks load as any other cut", "[checkpoint][folder]") {
  const TemporaryFolder temporary;
  const std::string path = temporary / "step_000000002/";  // a person's slash at the end
  begin_checkpoint(path);
  std::vector<ShardRecord> shards;
  // rank 0: rows 0..2 of columns 0..4, and the last row, as two regions; rank 1: the rest of rows 0..2
  const Values left{1, 2, 3, 4, 9, 10, 11, 12, 17, 18, 19, 20}, last = counting(8, 25),
                                                                right{5, 6, 7, 8, 13, 14, 15, 16, 21, 22, 23, 24};
  const std::vector<BoxToSave> rank0{
      {Box{"weight/w", {4, 8}, {0, 0}, {3, 4}}, DType::fp32, std::as_bytes(std::span(left))},
      {Box{"weight/w", {4, 8}, {3, 0}, {1, 8}}, DType::fp32, std::as_bytes(std::span(last))}};
  const std::vector<BoxToSave> rank1{
      {Box{"weight/w", {4, 8}, {0, 4}, {3, 4}}, DType::fp32, std::as_bytes(std::span(right))}};
  shards.push_back(write_shard(path, 0, 2, rank0));
  shards.push_back(shard_record_from_text(to_text(write_shard(path, 1, 2, rank1)), "rank 1"));
  CHECK_FALSE(fs::exists(path));  // not before the commit
  commit_checkpoint(path, shards, kFiles);
  CheckpointFolder folder(path);
  CHECK(folder.has_file("shard-00001-of-00002.safetensors"));
  CHECK(loaded(folder, "weight/w", {0, 0}, {4, 8}) == kWeight);
  CHECK(loaded(folder, "weight/w", {2, 3}, {2, 2}) == Values{20, 21, 28, 29});
  CHECK(error_of<CheckpointError>([&] {
          loaded(folder, "weight/x", {0, 0}, {1, 1});
        }) == path + ": weight/x: is missing");
}

TEST_CASE("Loading converts between floating-point types only when asked", "[checkpoint][folder]") {
  const TemporaryFolder temporary;
  const std::string path = temporary / "step_000000001";
  save_checkpoint(path, whole_boxes(), {});
  CheckpointFolder folder(path);
  std::vector<bf16> values(32);
  const BoxToLoad target{whole_box("weight/w", {4, 8}), DType::bf16, std::as_writable_bytes(std::span(values))};
  CHECK(error_of<CheckpointError>([&] { folder.load(std::span(&target, 1)); }) ==
        path + ": weight/w: is stored as fp32, but bf16 is needed");
  folder.load(std::span(&target, 1), Conversion::floats);
  CHECK(static_cast<float>(values[31]) == 32.f);
  const BoxToLoad small{whole_box("weight/w", {4, 8}), DType::fp32, std::as_writable_bytes(std::span(values))};
  CHECK_THAT(error_of<CheckpointError>([&] { folder.load(std::span(&small, 1)); }),
             Contains("is to be loaded into 64 bytes, which do not fit [0:4, 0:8]"));
}

TEST_CASE("Damage is found and named", "[checkpoint][folder]") {
  const TemporaryFolder temporary;
  const std::string path = temporary / "step_000000001", shard = path + "/shard-00000-of-00001.safetensors";
  save_checkpoint(path, whole_boxes(), kFiles);
  const auto open_error = [&] { return error_of<CheckpointError>([&] { CheckpointFolder folder(path); }); };
  CHECK(open_error().empty());
  SECTION("a flipped byte in a shard") {
    flip_byte(shard, 1);
    CheckpointFolder folder(path);
    CHECK(
        error_of<CheckpointError>([&] { folder.verify(); }) ==
        path +
            ": shard-00000-of-00001.safetensors: is damaged: its checksum does not match; try: an earlier checkpoint");
    CHECK_THAT(error_of<CheckpointError>([&] {
                 loaded(folder, "exp_avg/w", {3, 0}, {1, 1});
               }),
               Contains("exp_avg/w: is damaged in shard-00000-of-00001.safetensors: its checksum does not match"));
    CHECK(loaded(folder, "weight/w", {0, 0}, {4, 8}) == kWeight);  // the other region is whole
  }
  SECTION("a flipped byte in a side file") {
    flip_byte(path + "/recipe.yaml", 2);
    CHECK(error_of<CheckpointError>([&] { CheckpointFolder(path).read_side_file("recipe.yaml"); }) ==
          path + ": recipe.yaml: is damaged: its checksum does not match; try: an earlier checkpoint");
  }
  SECTION("a short file") {
    fs::resize_file(shard, 100);
    CHECK_THAT(open_error(), Contains("shard-00000-of-00001.safetensors: has 100 bytes and should have"));
  }
  SECTION("a missing file") {
    fs::remove(shard);
    CHECK(open_error() == path + ": shard-00000-of-00001.safetensors: is missing; try: an earlier checkpoint");
  }
  SECTION("no manifest") {
    fs::remove(path + "/manifest.json");
    CHECK(open_error() == path +
                              ": manifest.json: is missing: the save or the removal of this checkpoint was "
                              "interrupted; try: an earlier checkpoint");
  }
  SECTION("a changed manifest") {
    std::string text = read_file(path + "/manifest.json");
    text.replace(text.find("weight/w"), 8, "weight/v");
    write_file(path + "/manifest.json", text);
    CHECK(open_error() == path + "/manifest.json: is damaged (its checksum does not match)");
  }
  SECTION("half a manifest") {
    write_file(path + "/manifest.json", read_file(path + "/manifest.json").substr(0, 200));
    CHECK_THAT(open_error(), Contains("manifest.json: is damaged ("));
  }
  SECTION("no folder") {
    CHECK(error_of<CheckpointError>([&] { CheckpointFolder folder(temporary / "x"); }) ==
          (temporary / "x") + ": is not a checkpoint folder; try: the path of a step_... folder");
  }
}

TEST_CASE("A full disk leaves earlier checkpoints and no partial one", "[checkpoint][folder]") {
  const TemporaryFolder temporary;
  const std::string first = temporary / "step_000000001", second = temporary / "step_000000002";
  save_checkpoint(first, whole_boxes(), kFiles);
  const Values large(1 << 20);
  const std::vector<BoxToSave> boxes{{whole_box("weight/w", {1 << 20}), DType::fp32, std::as_bytes(std::span(large))}};
  std::string error, overwriting;
  {
    const FileSizeLimit limit(1 << 20);
    error = error_of<CheckpointError>([&] { save_checkpoint(second, boxes, kFiles); });
    overwriting = error_of<CheckpointError>([&] { save_checkpoint(first, boxes, kFiles); });
  }
  CHECK(error == second + ".partial/shard-00000-of-00001.safetensors: cannot write: File too large");
  CHECK_FALSE(overwriting.empty());
  CHECK_FALSE(fs::exists(second));
  CHECK_FALSE(fs::exists(second + ".partial"));
  CHECK_FALSE(fs::exists(first + ".partial"));
  CheckpointFolder folder(first);
  folder.verify();
  CHECK(loaded(folder, "weight/w", {0, 0}, {4, 8}) == kWeight);
}

TEST_CASE("Saving a step again replaces it whole", "[checkpoint][folder]") {
  const TemporaryFolder temporary;
  const std::string path = temporary / "step_000000001";
  save_checkpoint(path, whole_boxes(), kFiles);
  fs::create_directories(path + ".partial");  // remains of an interrupted save
  write_file(path + ".partial/rubbish", "x");
  const std::vector<BoxToSave> boxes{{whole_box("weight/w", {4, 8}), DType::fp32, std::as_bytes(std::span(kMoment))}};
  save_checkpoint(path, boxes, {});
  CHECK_FALSE(fs::exists(path + ".partial"));
  CHECK_FALSE(fs::exists(path + "/recipe.yaml"));
  CheckpointFolder folder(path);
  CHECK(loaded(folder, "weight/w", {0, 0}, {4, 8}) == kMoment);
}

TEST_CASE("Bytes that do not fit their region are refused", "[checkpoint][folder]") {
  const TemporaryFolder temporary;
  const std::string path = temporary / "step_000000001";
  const std::vector<BoxToSave> boxes{{whole_box("weight/w", {4, 4}), DType::fp32, std::as_bytes(std::span(kWeight))}};
  CHECK(error_of<CheckpointError>([&] { save_checkpoint(path, boxes, {}); }) ==
        path + ": weight/w: has 128 bytes for a region of 64");
  CHECK_FALSE(fs::exists(path + ".partial"));
}
