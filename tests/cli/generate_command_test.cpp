#include <catch2/catch.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "tests/cli/nemo_process.h"
#include "tests/core/checkpoint/checkpoint_files.h"
#include "tests/core/data/golden_arrays.h"

using namespace nemo::test;
using nemo::testing::run_nemo;

namespace {

const std::string kFolder = NEMO_SOURCE_DIR "/tests/golden/generate-greedy";

std::vector<int64_t> golden_row(const std::string& name) {
  const GoldenArray array = read_golden_arrays(kFolder + "/io.safetensors").at(name);
  return {array.values.begin(), array.values.begin() + array.shape[1]};
}

std::string joined(const std::vector<int64_t>& ids) {
  std::string text;
  for (const int64_t id : ids) text += (text.empty() ? "" : ",") + std::to_string(id);
  return text;
}

}  // namespace

TEST_CASE("nemo generate continues ids as the golden case does", "[cli][generate][golden]") {
  const std::string prompt = joined(golden_row("in.input_ids"));
  const auto json =
      run_nemo({"generate", "--prompt-ids", prompt, kFolder, "--max-new-tokens", "20", "--json", "--device", "cpu"});
  REQUIRE(json.exit_code == 0);
  const auto object = nlohmann::json::parse(json.out);
  CHECK(object["ids"] == nlohmann::json(golden_row("out.greedy")));
  CHECK(object["text"].is_null());
  CHECK(object["finish_reason"] == "max_new_tokens");
  const auto beams = run_nemo(
      {"generate", kFolder, "--num-beams", "3", "--max-new-tokens", "12", "--device", "cpu", "--prompt-ids", prompt});
  CHECK(beams.out == joined(golden_row("out.beam3")) + "\n");
}

TEST_CASE("nemo generate reads and writes text where the model has a tokenizer", "[cli][generate]") {
  const TemporaryFolder folder;
  for (const char* file : {"config.json", "model.safetensors"})
    std::filesystem::copy_file(kFolder + "/" + file, folder / file);
  nlohmann::json vocabulary;  // one token a byte: 128 ids for the printable and control characters of ASCII
  const std::string letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  for (int id = 0; id < 128; ++id)
    vocabulary[id < 62 ? std::string(1, letters[static_cast<size_t>(id)]) : "token" + std::to_string(id)] = id;
  const nlohmann::json tokenizer = {
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", nlohmann::json::array()},
      {"normalizer", nullptr},
      {"pre_tokenizer",
       {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}}},
      {"post_processor", nullptr},
      {"decoder", {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}}},
      {"model",
       {{"type", "BPE"},
        {"dropout", nullptr},
        {"unk_token", nullptr},
        {"continuing_subword_prefix", nullptr},
        {"end_of_word_suffix", nullptr},
        {"fuse_unk", false},
        {"byte_fallback", false},
        {"vocab", vocabulary},
        {"merges", nlohmann::json::array()}}}};
  write_file(folder / "tokenizer.json", tokenizer.dump());
  const std::vector<std::string> asked = {"generate",      folder.path(), "--prompt", "BAD", "--max-new-tokens", "5",
                                          "--temperature", "0.7",         "--seed",   "3",   "--device",         "cpu"};
  std::vector<std::string> asked_json = asked;
  asked_json.push_back("--json");
  const auto streamed = run_nemo(asked), whole = run_nemo(asked_json);
  INFO(streamed.err << whole.err);
  REQUIRE(streamed.exit_code == 0);
  REQUIRE(whole.exit_code == 0);
  const auto object = nlohmann::json::parse(whole.out);
  CHECK(object["ids"].size() == 8);
  CHECK(object["ids"][1] == 0);
  CHECK(object["text"].get<std::string>().starts_with("BAD"));
  CHECK(streamed.out == object["text"].get<std::string>() + "\n");
}

TEST_CASE("nemo generate says what is wrong", "[cli][generate]") {
  const auto failed = [](const std::vector<std::string>& arguments, int exit_code, const std::string& message) {
    std::vector<std::string> all = {"generate"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    const auto result = run_nemo(all);
    CHECK(result.exit_code == exit_code);
    CHECK(result.out.empty());
    CHECK_THAT(result.err, Catch::Contains(message));
  };
  failed({kFolder}, 2, "nemo generate: prompt: is missing; try: --prompt TEXT, or --prompt-ids 1,2,3");
  failed({kFolder, "--prompt", "a", "--prompt-ids", "1"}, 2, "nemo generate: prompt: is given both as text and as ids");
  failed({kFolder, "--prompt", "a", "--device", "cpu"}, 2,
         "--prompt: there is no tokenizer beside the model to read text with; try: --prompt-ids 1,2,3");
  failed({kFolder, "--prompt-ids", "1", "--temperature", "-2"}, 2, "generate: temperature: -2.000000 makes no sense");
  failed({kFolder, "--prompt-ids", "1", "--precision", "fp8"}, 2, "fp8");
  failed({kFolder, "--prompt-ids", "500", "--device", "cpu"}, 2,
         "generate: prompt 0: token id 500 is not in the vocabulary of 128");
  failed({"/nowhere/at/all", "--prompt-ids", "1"}, 1,
         "/nowhere/at/all: does not exist; try: a Hugging Face folder (config.json), a checkpoint (manifest.json)");
  const TemporaryFolder empty;
  failed({empty.path(), "--prompt-ids", "1"}, 1, empty.path() + ": holds no model");
}
