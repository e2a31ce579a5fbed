#include "core/checkpoint/manifest.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "core/checkpoint/file.h"
#include "core/error.h"
#include "tests/core/checkpoint/checkpoint_files.h"

using namespace nemo;
using namespace nemo::test;
using nlohmann::json;

namespace {

const ShardRecord kShard{
    {"shard-00000-of-00001.safetensors", uint64_t{1} << 40, "00ff"},
    {{Box{"weight/w", {4, 8}, {0, 4}, {4, 4}}, DType::bf16, "shard-00000-of-00001.safetensors", "weight/w", "12ab"},
     {whole_box("exp_avg/scalar", {}), DType::fp32, "shard-00000-of-00001.safetensors", "exp_avg/scalar", "34"}}};

// A manifest whose content was changed, with a checksum that fits again.
std::string error_with(const std::function<void(json&)>& change) {
  json value = json::parse(to_text(Manifest{{kShard.file}, kShard.boxes}));
  change(value["content"]);
  value["xxh3_128"] = checksum(as_byte_span(value["content"].dump()));
  return error_of<CheckpointError>([&] { manifest_from_text(value.dump(), "M"); });
}

}  // namespace

TEST_CASE("A manifest and a shard record are read as written", "[checkpoint][manifest]") {
  CHECK(shard_record_from_text(to_text(kShard), "rank 3") == kShard);
  const Manifest manifest =
      manifest_from_text(to_text(Manifest{{kShard.file, {"recipe.yaml", 3, "x"}}, kShard.boxes}), "M");
  CHECK(manifest.files.size() == 2);
  CHECK(manifest.boxes == kShard.boxes);
  REQUIRE(manifest.find_file("recipe.yaml"));
  CHECK(manifest.find_file("recipe.yaml")->size_bytes == 3);
  CHECK(manifest.find_file("x") == nullptr);
}

TEST_CASE("A manifest that is not one of ours is refused", "[checkpoint][manifest]") {
  CHECK(error_with([](json&) {}).empty());
  CHECK(error_with([](json& content) { content["version"] = 2; }) ==
        "M: has version 2, and this nemo reads version 1; try: the version of nemo that wrote it");
  CHECK(error_with([](json& content) { content["format"] = "other"; }) == "M: is damaged (format \"other\")");
  CHECK(error_with([](json& content) { content["files"][0]["name"] = "../x"; }) == "M: is damaged (file name '../x')");
  CHECK(error_with([](json& content) { content["files"][0]["name"] = "a/b"; }) == "M: is damaged (file name 'a/b')");
  CHECK(error_with([](json& content) { content["boxes"][0]["dtype"] = "F4"; }) == "M: is damaged (dtype \"F4\")");
  CHECK(error_with([](json& content) { content["boxes"][0]["file"] = "x"; }) ==
        "M: is damaged (weight/w is in 'x', which it does not list)");
  CHECK(error_with([](json& content) { content["boxes"][0].erase("offset"); }).starts_with("M: is damaged ("));
  CHECK(error_with([](json& content) { content["boxes"][0]["shape"] = "x"; }).starts_with("M: is damaged ("));
  CHECK(error_of<CheckpointError>([] { manifest_from_text("[]", "M"); }).starts_with("M: is damaged ("));
  CHECK(error_of<CheckpointError>([] { shard_record_from_text("{", "rank 3"); }).starts_with("rank 3: is damaged ("));
}
