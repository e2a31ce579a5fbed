#include "recipes/load_model.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "recipes/convert.h"
#include "recipes/generate.h"
#include "tests/core/checkpoint/checkpoint_files.h"

namespace fs = std::filesystem;
using namespace nemo;
using nemo::test::error_of;
using nemo::test::TemporaryFolder;

namespace {

const std::string kGolden = NEMO_SOURCE_DIR "/tests/golden/generate-greedy";

std::vector<int32_t> continued(const std::string& path, Precision precision = Precision::fp32) {
  const LoadedModel loaded = load_model(path, Device{}, precision);
  return generate(*loaded.ctx, *loaded.model, {{49, 63, 30}}, {.max_new_tokens = 8, .eos_ids = loaded.eos_ids}).front();
}

// The golden folder with another generation_config.json; empty: without one.
void copy_golden(const TemporaryFolder& folder, const std::string& generation_config) {
  for (const char* file : {"config.json", "model.safetensors"}) fs::copy_file(kGolden + "/" + file, folder / file);
  if (!generation_config.empty()) test::write_file(folder / "generation_config.json", generation_config);
}

}  // namespace

TEST_CASE("a folder, the checkpoint made from it and a run that holds it are the same model", "[load_model]") {
  const TemporaryFolder run;
  fs::create_directories(run / "checkpoints");
  const std::string checkpoint = run / "checkpoints/step_000000007";
  import_folder(kGolden, checkpoint);
  const std::vector<int32_t> expected = continued(kGolden);
  CHECK(expected.size() == 11);
  CHECK(continued(checkpoint) == expected);
  CHECK(continued(run.path()) == expected);
  CHECK(load_model(checkpoint, Device{}, Precision::fp32).eos_ids == std::vector<int32_t>{127});
}

TEST_CASE("weights are held in the precision asked for", "[load_model]") {
  CHECK(load_model(kGolden, Device{}, Precision::fp32).ctx->compute_dtype() == DType::fp32);
  const LoadedModel narrow = load_model(kGolden, Device{}, Precision::bf16);
  CHECK(narrow.ctx->compute_dtype() == DType::bf16);
  CHECK(narrow.store->policy().values == DType::bf16);
  CHECK(continued(kGolden, Precision::bf16).size() == 11);
}

TEST_CASE("where a text ends stands in generation_config.json before config.json", "[load_model]") {
  const auto eos_ids = [](const std::string& generation_config) {
    const TemporaryFolder folder;
    copy_golden(folder, generation_config);
    return load_model(folder.path(), Device{}, Precision::fp32).eos_ids;
  };
  CHECK(eos_ids("") == std::vector<int32_t>{127});
  CHECK(eos_ids("{}") == std::vector<int32_t>{127});
  CHECK(eos_ids(R"({"eos_token_id": null})") == std::vector<int32_t>{127});
  CHECK(eos_ids(R"({"eos_token_id": 5})") == std::vector<int32_t>{5});
  CHECK(eos_ids(R"({"eos_token_id": [5, 6]})") == std::vector<int32_t>{5, 6});
}

TEST_CASE("folders that hold no model, or a damaged one, are named", "[load_model]") {
  const auto refusal = [](const std::string& path) {
    return error_of<CheckpointError>([&] { load_model(path, Device{}, Precision::fp32); });
  };
  const std::string suggestion =
      "; try: a Hugging Face folder (config.json), a checkpoint (manifest.json), or the folder of a run that saved one";
  CHECK(refusal("/nowhere/at/all") == "/nowhere/at/all: does not exist" + suggestion);
  const TemporaryFolder folder;
  CHECK(refusal(folder.path()) == folder.path() + ": holds no model" + suggestion);
  fs::create_directory(folder / "checkpoints");
  CHECK(refusal(folder.path()) == folder.path() + ": holds no model" + suggestion);
  copy_golden(folder, R"({"eos_token_id": "<s>"})");
  CHECK(refusal(folder.path()) ==
        folder / "generation_config.json" + ": eos_token_id: is neither an id nor a list of ids");
  test::write_file(folder / "generation_config.json", "[");
  CHECK(refusal(folder.path()) == folder / "generation_config.json" + ": is not a JSON object");
  fs::remove(folder / "model.safetensors");
  CHECK_FALSE(refusal(folder.path()).empty());
}
