#include <catch2/catch.hpp>

#include "core/error.h"
#include "core/tokenizer/byte_tokenizer.h"
#include "core/tokenizer/char_tokenizer.h"
#include "core/tokenizer/stream_decoder.h"
#include "core/tokenizer/tokenizer.h"
#include "tests/temporary_folder.h"

namespace nemo {

using Catch::Matchers::Message;

TEST_CASE("byte tokenizer", "[tokenizer]") {
  const auto tokenizer = load_tokenizer(TokenizerType::byte, "");
  CHECK(tokenizer->vocab_size() == 257);
  CHECK(tokenizer->eos() == 256);
  std::string every_byte;
  for (int byte = 0; byte < 256; ++byte) every_byte += static_cast<char>(byte);
  const auto ids = tokenizer->encode(every_byte, true);
  CHECK(ids[200] == 200);
  CHECK(tokenizer->decode(ids, true) == every_byte);
  const std::vector<int32_t> ended = {'a', 256};
  CHECK(tokenizer->decode(ended, true) == "a");
  CHECK(tokenizer->decode(ended, false) == "a<|endoftext|>");
  CHECK(tokenizer->token_id("<|endoftext|>") == 256);
  CHECK_THROWS_MATCHES(tokenizer->decode(std::vector<int32_t>{257}, true), DataError,
                       Message("byte tokenizer: id 257 is not in its vocabulary of 257"));
}

TEST_CASE("a stream of bytes never ends inside a character", "[tokenizer]") {
  const ByteTokenizer tokenizer;
  StreamDecoder stream(tokenizer, true);
  std::vector<std::string> pieces;
  for (const char byte : std::string("h\xC3\xA9\xF0\x9F\x9A\x80!\xE4")) pieces.push_back(stream.push(static_cast<uint8_t>(byte)));
  CHECK((pieces == std::vector<std::string>{"h", "", "\xC3\xA9", "", "", "", "\xF0\x9F\x9A\x80", "!", ""}));
  CHECK(stream.finish() == "\xE4");
  CHECK(stream.finish().empty());
}

TEST_CASE("character tokenizer", "[tokenizer]") {
  const test::TemporaryFolder folder;
  const auto text = folder.write("text.txt", "b\xC3\xA9" "a\nab");
  const auto tokenizer = load_tokenizer(TokenizerType::character, text);
  CHECK(tokenizer->vocab_size() == 4);  // newline, a, b, e acute: by code point
  const auto ids = tokenizer->encode("ab\xC3\xA9\n", false);
  CHECK((ids == std::vector<int32_t>{1, 2, 3, 0}));
  CHECK(tokenizer->decode(ids, false) == "ab\xC3\xA9\n");
  CHECK(tokenizer->token_id("\xC3\xA9") == 3);
  CHECK_FALSE(tokenizer->token_id("c"));
  CHECK_THROWS_MATCHES(tokenizer->encode("abc", false), DataError,
                       Message("character tokenizer: \"c\" (byte 2 of the text) is not among its 4 characters; try: only "
                               "characters that the training text has"));
  CHECK_THROWS_MATCHES(tokenizer->decode(std::vector<int32_t>{-1}, false), DataError,
                       Message("character tokenizer: id -1 is not in its vocabulary of 4"));

  SECTION("loads again from its files") {
    const auto files = tokenizer->files();
    REQUIRE(files.size() == 1);
    folder.write(files[0].name, files[0].contents);
    for (const auto& place : {folder.path(), folder / files[0].name}) {
      const auto again = load_tokenizer(TokenizerType::character, place);
      CHECK(again->vocab_size() == 4);
      CHECK(again->encode("ab\xC3\xA9\n", false) == ids);
    }
  }
}

TEST_CASE("tokenizers that cannot be loaded", "[tokenizer]") {
  const test::TemporaryFolder folder;
  const std::string place = folder.path();
  const auto load = [&](TokenizerType type, const std::string& model) { return load_tokenizer(type, model); };
  CHECK_THROWS_MATCHES(load(TokenizerType::character, ""), DataError,
                       Message("tokenizer.model: this type of tokenizer needs a file; try: a text file, or a char_tokenizer.json"));
  CHECK_THROWS_MATCHES(load(TokenizerType::none, ""), DataError,
                       Message("tokenizer.type: none: there is no tokenizer to read or write text with; try: byte, char or huggingface"));
  CHECK_THROWS_MATCHES(load(TokenizerType::sentencepiece, "m.model"), DataError,
                       Message("m.model: tokenizer.type: sentencepiece models cannot be read yet; try: huggingface with the "
                               "tokenizer.json that comes with the model"));
  CHECK_THROWS_MATCHES(load(TokenizerType::character, place + "/none.txt"), DataError,
                       Message(place + "/none.txt: cannot open: No such file or directory; try: a text file, or a char_tokenizer.json"));
  CHECK_THROWS_MATCHES(load(TokenizerType::character, folder.write("empty.txt", "").string()), DataError,
                       Message(place + "/empty.txt: the text is empty: no characters to make a tokenizer of"));
  folder.write("char_tokenizer.json", R"({"characters": "ba"})");
  CHECK_THROWS_MATCHES(load(TokenizerType::character, place), DataError,
                       Message(place + "/char_tokenizer.json: characters are not in ascending order"));
  folder.write("char_tokenizer.json", "[1");
  CHECK_THROWS_MATCHES(load(TokenizerType::character, place), DataError,
                       Message(place + "/char_tokenizer.json: not a character vocabulary: expected {\"type\": \"char\", "
                                       "\"characters\": \"...\"}"));
  CHECK_THROWS_MATCHES(load(TokenizerType::huggingface, place), DataError,
                       Message(place + "/tokenizer.json: cannot open: No such file or directory; try: a Hugging Face "
                                       "tokenizer.json, or the folder that holds it"));
}

}  // namespace nemo
