#include "core/checkpoint/safetensors_set.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "tests/core/checkpoint/checkpoint_files.h"

using namespace nemo;
using namespace nemo::test;
using Catch::Matchers::Contains;

namespace {

const std::vector<SafetensorsEntry> kTensors = {{"a", DType::fp32, {4}},    {"b", DType::int8, {6}},
                                                {"c", DType::fp32, {2, 2}}, {"d", DType::bf16, {50}},
                                                {"e", DType::fp32, {0}},    {"f", DType::int8, {1}}};

std::string content(const SafetensorsEntry& tensor, uint64_t bytes) {
  return std::string(bytes, tensor.name[0]);
}

void write_set(const std::string& folder, uint64_t max_shard_bytes) {
  SafetensorsSetWriter writer(folder, kTensors, max_shard_bytes);
  for (const SafetensorsEntry& tensor : writer.entries()) {
    const std::string data = content(tensor, declared_bytes("", tensor));
    writer.append(tensor.name, as_byte_span(data));
  }
  writer.finish();
}

void check_set(const std::string& folder) {
  const SafetensorsSet set(folder);
  CHECK(set.names() == std::vector<std::string>{"a", "b", "c", "d", "e", "f"});
  for (const SafetensorsEntry& tensor : kTensors) {
    REQUIRE(set.find(tensor.name));
    CHECK(set.find(tensor.name)->shape == tensor.shape);
    const std::span<const std::byte> bytes = set.bytes(tensor.name);
    CHECK(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()) ==
          content(tensor, declared_bytes("", tensor)));
  }
  CHECK(set.find("absent") == nullptr);
  CHECK(set.metadata().at("format") == "pt");
}

}  // namespace

TEST_CASE("One shard is model.safetensors without an index", "[checkpoint][safetensors]") {
  const TemporaryFolder folder;
  write_set(folder.path(), 1 << 20);
  CHECK(std::filesystem::exists(folder / "model.safetensors"));
  CHECK_FALSE(std::filesystem::exists(folder / "model.safetensors.index.json"));
  check_set(folder.path());
  check_set(folder / "model.safetensors");
}

TEST_CASE("Shards keep to the size and are found through the index", "[checkpoint][safetensors]") {
  const TemporaryFolder folder;
  write_set(folder.path(), 40);
  check_set(folder.path());
  const nlohmann::json index = nlohmann::json::parse(read_file(folder / "model.safetensors.index.json"));
  CHECK(index["metadata"]["total_size"] == 16 + 6 + 16 + 100 + 1);
  CHECK(index["weight_map"]["a"] == "model-00001-of-00003.safetensors");
  CHECK(index["weight_map"]["c"] == "model-00001-of-00003.safetensors");
  CHECK(index["weight_map"]["d"] == "model-00002-of-00003.safetensors");  // larger than a shard: alone
  CHECK(index["weight_map"]["f"] == "model-00003-of-00003.safetensors");
}

TEST_CASE("A set whose index and shards disagree is refused", "[checkpoint][safetensors]") {
  const TemporaryFolder folder;
  write_set(folder.path(), 40);
  const std::string path = folder / "model.safetensors.index.json", good = read_file(path);
  const auto error = [&](const std::function<void(nlohmann::json&)>& change) {
    nlohmann::json index = nlohmann::json::parse(good);
    change(index);
    write_file(path, index.dump());
    return error_of<CheckpointError>([&] { SafetensorsSet set(folder.path()); });
  };
  CHECK(error([](nlohmann::json&) {}).empty());
  CHECK(error([](nlohmann::json& index) { index["weight_map"]["x"] = "model-00001-of-00003.safetensors"; }) ==
        path + ": x: is said to be in model-00001-of-00003.safetensors but is not there");
  CHECK(error([](nlohmann::json& index) { index["weight_map"].erase("c"); }) ==
        path + ": c: is in model-00001-of-00003.safetensors but not in weight_map");
  CHECK(error([](nlohmann::json& index) { index["weight_map"]["a"] = "../a.safetensors"; }) ==
        path + ": a: is said to be in \"../a.safetensors\", which is not a file name");
  CHECK_THAT(error([](nlohmann::json& index) { index["weight_map"]["a"] = "gone.safetensors"; }),
             Contains("gone.safetensors: cannot open"));
  CHECK(error([](nlohmann::json& index) { index.erase("weight_map"); }) ==
        path + ": weight_map: is missing or not an object");
  CHECK(error([](nlohmann::json& index) { index["weight_map"] = nlohmann::json::object(); }) ==
        path + ": weight_map: is empty");
  write_file(path, "{");
  CHECK_THAT(error_of<CheckpointError>([&] { SafetensorsSet set(folder.path()); }),
             Contains("model.safetensors.index.json: is not valid JSON"));
  std::filesystem::remove(path);
  CHECK_THAT(error_of<CheckpointError>([&] { SafetensorsSet set(folder.path()); }),
             Contains("has neither model.safetensors nor model.safetensors.index.json"));
}

TEST_CASE("A tensor in two shards is refused", "[checkpoint][safetensors]") {
  const TemporaryFolder folder;
  for (const char* name : {"one.safetensors", "two.safetensors"}) {
    SafetensorsWriter writer(folder / name, {{"w", DType::int8, {1}}});
    writer.append("w", as_byte_span("x"));
    writer.finish();
  }
  write_file(folder / "model.safetensors.index.json",
             R"({"weight_map":{"w":"one.safetensors","v":"two.safetensors"}})");
  CHECK(error_of<CheckpointError>([&] { SafetensorsSet set(folder.path()); }) ==
        folder.path() + ": w: is in both two.safetensors and one.safetensors");
}

TEST_CASE("The set writer refuses what was not declared or not written", "[checkpoint][safetensors]") {
  const TemporaryFolder folder;
  SafetensorsSetWriter writer(folder.path(), {{"a", DType::int8, {2}}, {"b", DType::int8, {2}}}, 2);
  CHECK(error_of<CheckpointError>([&] { writer.append("x", as_byte_span("1")); }) ==
        folder.path() + ": x: was not declared");
  writer.append("a", as_byte_span("12"));
  CHECK_THAT(error_of<CheckpointError>([&] { writer.finish(); }),
             Contains("model-00002-of-00002.safetensors: b: was declared but not written whole"));
}
