#include "core/tokenizer/huggingface/huggingface_tokenizer.h"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "core/data/file_bytes.h"
#include "core/error.h"
#include "core/tokenizer/stream_decoder.h"
#include "core/tokenizer/utf8.h"
#include "tests/temporary_folder.h"

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

namespace {

using Catch::Matchers::Message;

// A tokenizer of a, b, c, space, "ab" and "abc" whose file can be changed before it is read.
class SmallTokenizer {
 public:
  nlohmann::json file = nlohmann::json::parse(R"({"model": {"type": "BPE",
      "vocab": {"a": 0, "b": 1, "c": 2, " ": 3, "ab": 4, "abc": 5, "bc": 6}, "merges": ["b c", ["a", "b"], "ab c"]}})");

  std::unique_ptr<Tokenizer> load() const {
    folder_.write("tokenizer.json", file.dump());
    return load_huggingface_tokenizer(folder_.path());
  }
  std::vector<int32_t> encode(const std::string& text) const { return load()->encode(text, false); }
  std::string path() const { return folder_ / "tokenizer.json"; }
  const test::TemporaryFolder& folder() const { return folder_; }

 private:
  test::TemporaryFolder folder_;
};

using Ids = std::vector<int32_t>;

nlohmann::json added(const std::string& content, int id, const std::string& on = "") {
  nlohmann::json token = {{"content", content}, {"id", id}, {"special", true}, {"normalized", false}};
  if (!on.empty()) token[on] = true;
  return token;
}

}  // namespace

TEST_CASE("merges go by rank, not from the left", "[tokenizer]") {
  SmallTokenizer small;
  CHECK((small.encode("abc") == Ids{0, 6}));  // "b c" comes first, then nothing joins a and bc
  CHECK((small.encode("ab") == Ids{4}));
  CHECK(small.encode("").empty());
  SECTION("in words of any length") {
    std::string text;
    Ids expected;
    for (int i = 0; i < 1000; ++i) {
      text += "ab abc";
      for (const int32_t id : {4, 3, 0, 6}) expected.push_back(id);
    }
    CHECK((small.encode(text) == expected));
  }
  SECTION("unless ignore_merges is set and the word is a token") {
    small.file["model"]["ignore_merges"] = true;
    CHECK((small.encode("abc") == Ids{5}));
  }
}

TEST_CASE("long and short words are encoded alike", "[tokenizer]") {
  const auto tokenizer = load_huggingface_tokenizer(std::filesystem::path(NEMO_SOURCE_DIR) / "tests/golden/tokenizers/small-bytelevel-bpe");
  const std::string piece = "theatheandtherein";  // of letters alone: one word, however often repeated
  const Ids once = tokenizer->encode(piece + "X", false);  // the short way
  std::string text;
  for (int i = 0; i < 40; ++i) text += piece + "X";  // "X" takes part in no merge, so every repetition stands alone
  Ids expected;
  for (int i = 0; i < 40; ++i) expected.insert(expected.end(), once.begin(), once.end());
  CHECK((tokenizer->encode(text, false) == expected));
}

TEST_CASE("unknown characters", "[tokenizer]") {
  SmallTokenizer small;
  CHECK((small.encode("axxb") == Ids{4}));  // left out where there is no unknown token
  small.file["model"]["vocab"]["?"] = 7;
  small.file["model"]["unk_token"] = "?";
  CHECK((small.encode("axxb") == Ids{0, 7, 7, 1}));
  small.file["model"]["fuse_unk"] = true;
  CHECK((small.encode("axxb") == Ids{0, 7, 1}));
  CHECK(small.load()->unk() == 7);
  small.file["model"]["byte_fallback"] = true;
  small.file["model"]["vocab"]["<0xC3>"] = 8;
  CHECK((small.encode("a\xC3\xA9" "b") == Ids{0, 7, 1}));  // not all of its bytes are tokens
  small.file["model"]["vocab"]["<0xA9>"] = 9;
  CHECK((small.encode("a\xC3\xA9" "b") == Ids{0, 8, 9, 1}));
}

TEST_CASE("added tokens", "[tokenizer]") {
  SmallTokenizer small;
  const auto with = [&](const nlohmann::json& token) {
    small.file["added_tokens"] = {token};
    return small.load();
  };
  CHECK((with(added("<x>", 9))->encode("ab<x>ab <x", false) == Ids{4, 9, 4, 3}));
  CHECK(with(added("<x>", 9))->vocab_size() == 10);
  CHECK((with(added("<x>", 9))->encode("a <x> b", false) == Ids{0, 3, 9, 3, 1}));
  CHECK((with(added("<x>", 9, "lstrip"))->encode("a  <x> b", false) == Ids{0, 9, 3, 1}));
  CHECK((with(added("<x>", 9, "rstrip"))->encode("a <x> \t b", false) == Ids{0, 3, 9, 1}));
  CHECK((with(added("bb", 9, "single_word"))->encode("bb abb bba bb", false) == Ids{9, 3, 4, 1, 3, 1, 1, 0, 3, 9}));
  const auto decoded = [&](bool skip_special) { return with(added("<x>", 9))->decode(Ids{0, 9, 1}, skip_special); };
  CHECK(decoded(true) == "a b");
  CHECK(decoded(false) == "a <x> b");

  small.file["added_tokens"] = {added("<x>", 9), added("<x>y", 10)};
  CHECK((small.encode("<x><x>y") == Ids{9, 10}));  // the longest at a place
}

TEST_CASE("added tokens looked for in normalised text", "[tokenizer]") {
  SmallTokenizer small;
  small.file["normalizer"] = {{"type", "Replace"}, {"pattern", {{"String", "_"}}}, {"content", " "}};
  small.file["added_tokens"] = {{{"content", "a_b"}, {"id", 9}, {"normalized", true}}};
  CHECK((small.encode("a b") == Ids{9}));
  CHECK((small.encode("ca_b") == Ids{2, 9}));
  small.file["added_tokens"][0]["normalized"] = false;
  CHECK((small.encode("a b") == Ids{0, 3, 1}));
}

TEST_CASE("templates put special tokens around a text", "[tokenizer]") {
  SmallTokenizer small;
  const auto special = [](const char* name) { return nlohmann::json{{"SpecialToken", {{"id", name}, {"type_id", 0}}}}; };
  small.file["post_processor"] = {{"type", "TemplateProcessing"},
                                  {"single", {special("<b>"), {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}, special("<e>")}},
                                  {"special_tokens", {{"<b>", {{"ids", {2, 3}}}}, {"<e>", {{"ids", {1}}}}}}};
  CHECK((small.load()->encode("a", true) == Ids{2, 3, 0, 1}));
  CHECK((small.load()->encode("a", false) == Ids{0}));
  small.file["post_processor"] = {{"type", "Sequence"}, {"processors", {{{"type", "ByteLevel"}}, small.file["post_processor"]}}};
  CHECK((small.load()->encode("a", true) == Ids{2, 3, 0, 1}));
  small.file["post_processor"] = {{"type", "BertProcessing"}, {"cls", {"<b>", 2}}, {"sep", {"<e>", 1}}};
  CHECK((small.load()->encode("a", true) == Ids{2, 0, 1}));
}

TEST_CASE("split behaviours", "[tokenizer]") {
  SmallTokenizer small;
  small.file["model"]["merges"] = nlohmann::json::parse(R"([["b", " "], [" ", "a"]])");  // each joins where the cut is on its other side
  small.file["model"]["vocab"]["b "] = 7;
  small.file["model"]["vocab"][" a"] = 8;
  const auto encode = [&](const char* behavior, bool invert = false) {
    small.file["pre_tokenizer"] = {{"type", "Split"}, {"pattern", {{"Regex", "\\s"}}}, {"behavior", behavior}, {"invert", invert}};
    return small.encode("b a");
  };
  CHECK((encode("Isolated") == Ids{1, 3, 0}));
  CHECK((encode("Removed") == Ids{1, 0}));
  CHECK((encode("Removed", true) == Ids{3}));
  CHECK((encode("MergedWithPrevious") == Ids{7, 0}));
  CHECK((encode("MergedWithNext") == Ids{1, 8}));
  CHECK((encode("Contiguous") == Ids{1, 3, 0}));
}

TEST_CASE("names of special tokens come from tokenizer_config.json", "[tokenizer]") {
  SmallTokenizer small;
  small.file["added_tokens"] = {added("</s>", 9)};
  CHECK(small.load()->eos() == 9);
  small.folder().write("tokenizer_config.json", R"({"bos_token": {"content": "a"}, "eos_token": "b", "pad_token": null})");
  CHECK(small.load()->bos() == 0);
  CHECK(small.load()->eos() == 1);
  CHECK_FALSE(small.load()->pad());
  const auto files = small.load()->files();
  REQUIRE(files.size() == 2);
  CHECK(files[0].name == "tokenizer.json");
  CHECK(files[1].name == "tokenizer_config.json");
}

TEST_CASE("bytes that are not UTF-8 are read as U+FFFD", "[tokenizer]") {
  SmallTokenizer small;
  small.file["model"]["vocab"]["\xEF\xBF\xBD"] = 7;
  CHECK((small.encode("a\xFF" "b") == Ids{0, 7, 1}));
}

TEST_CASE("tokenizer files that cannot be used", "[tokenizer]") {
  SmallTokenizer small;
  const std::string place = small.path() + ": ";
  const auto expect = [&](const std::string& message) { CHECK_THROWS_MATCHES(small.load(), DataError, Message(place + message)); };
  const auto model = [&]() -> nlohmann::json& { return small.file["model"]; };

  SECTION("a component not known here") {
    small.file["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", {{{"type", "Foo"}}}}};
    expect("pre_tokenizer.pretokenizers[0]: type \"Foo\" is not supported");
    small.file = {{"model", {{"type", "Foo"}}}};
    expect("model: type \"Foo\" is not supported");
  }
  SECTION("a normaliser, post-processor or decoder not known here") {
    for (const char* part : {"normalizer", "post_processor", "decoder"}) {
      small.file.erase("normalizer"), small.file.erase("post_processor");
      small.file[part] = {{"type", "Foo"}};
      expect(std::string(part) + ": type \"Foo\" is not supported");
    }
  }
  SECTION("no model") {
    small.file.erase("model");
    expect("\"model\" is missing");
  }
  SECTION("ids") {
    model()["vocab"]["z"] = -1;
    expect("model.vocab: the id of \"z\" is not a whole number from 0 to 16777215");
    model()["vocab"]["z"] = 1u << 31;
    expect("model.vocab: the id of \"z\" is not a whole number from 0 to 16777215");
    model()["vocab"]["z"] = 0;
    expect("model.vocab: two tokens have the id 0");
  }
  SECTION("merges") {
    model()["merges"].push_back("ab");
    expect("model.merges: entry 3: two tokens are expected, as \"a b\" or [\"a\", \"b\"]");
    model()["merges"][3] = {"a", "z"};
    expect("model.merges: entry 3: \"z\" is not in the vocabulary");
    model()["merges"] = 3;
    expect("model.merges: a list is expected here");
  }
  SECTION("an added token at odds with the vocabulary") {
    small.file["added_tokens"] = {added("ab", 9)};
    expect("added_tokens[0]: \"ab\" has id 9, and 4 in the vocabulary");
  }
  SECTION("values of the wrong type") {
    small.file["pre_tokenizer"] = {{"type", "ByteLevel"}, {"use_regex", "yes"}};
    expect("pre_tokenizer.use_regex: true or false is expected here");
    small.file["pre_tokenizer"] = {{"type", 3}};
    expect("pre_tokenizer.type: a string is expected here");
    small.file["pre_tokenizer"] = "ByteLevel";
    expect("pre_tokenizer: an object is expected here");
  }
  SECTION("a regular expression that does not compile") {
    small.file["pre_tokenizer"] = {{"type", "Split"}, {"pattern", {{"Regex", "(a"}}}, {"behavior", "Isolated"}};
    expect("pre_tokenizer.pattern.Regex: not a regular expression that PCRE2 reads: missing closing parenthesis");
  }
  SECTION("an id that no token has") {
    CHECK_THROWS_MATCHES(small.load()->decode(Ids{7}, false), DataError, Message("tokenizer: id 7 is not in its vocabulary of 7"));
  }
  SECTION("not JSON") {
    small.folder().write("tokenizer.json", "{\"model\": ");
    CHECK_THROWS_MATCHES(load_huggingface_tokenizer(small.folder().path()), DataError, Message(place + "not JSON (byte 11 of 10)"));
  }
}

}  // namespace nemo
