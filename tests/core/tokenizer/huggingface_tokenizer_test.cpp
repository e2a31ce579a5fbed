#include "core/tokenizer/huggingface/huggingface_tokenizer.h"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "core/data/file_bytes.h"
#include "core/tokenizer/stream_decoder.h"
#include "core/tokenizer/utf8.h"

namespace nemo {
namespace {

// cases: a list of {text, ids, ids_no_special, decoded} that the upstream library gave.
void check_cases(const Tokenizer& tokenizer, const std::filesystem::path& cases_file) {
  const auto cases = nlohmann::json::parse(read_file_bytes(cases_file));
  REQUIRE(cases.size() > 0);
  for (const auto& expected : cases) {
    const std::string text = expected["text"];
    INFO(cases_file << ": " << text);
    const std::vector<int32_t> ids = tokenizer.encode(text, true);
    CHECK((ids == expected["ids"].get<std::vector<int32_t>>()));
    CHECK((tokenizer.encode(text, false) == expected["ids_no_special"].get<std::vector<int32_t>>()));
    CHECK(tokenizer.decode(expected["ids_no_special"].get<std::vector<int32_t>>(), false) == expected["decoded"].get<std::string>());

    StreamDecoder stream(tokenizer, false);
    std::string streamed;
    for (const int32_t id : ids) {
      const std::string piece = stream.push(id);
      CHECK(is_valid_utf8(piece));
      streamed += piece;
    }
    CHECK(streamed + stream.finish() == tokenizer.decode(ids, false));
  }
}

// Folders with a tokenizer.json, each with its cases beside it as FOLDER.json.
void check_folder(const std::filesystem::path& folder) {
  int num_checked = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (!entry.is_directory()) continue;
    check_cases(*load_huggingface_tokenizer(entry.path()), entry.path().string() + ".json");
    ++num_checked;
  }
  CHECK(num_checked > 0);
}

// Present only where the variable names a folder of tokenizers, so that nothing passes unseen.
const bool registered = [] {
  if (std::getenv("NEMO_TEST_TOKENIZERS")) {
    REGISTER_TEST_CASE([] { check_folder(std::getenv("NEMO_TEST_TOKENIZERS")); }, "ids are the expected ones in NEMO_TEST_TOKENIZERS",
                       "[tokenizer]");
  }
  return true;
}();

}  // namespace

TEST_CASE("ids and texts are the upstream library's", "[tokenizer]") {
  check_folder(std::filesystem::path(NEMO_SOURCE_DIR) / "tests/golden/tokenizers");
}

}  // namespace nemo
