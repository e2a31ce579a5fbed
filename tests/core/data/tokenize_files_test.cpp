#include "core/data/tokenize_files.h"

#include <catch2/catch.hpp>

#include "core/data/indexed_dataset.h"
#include "core/error.h"
#include "core/tokenizer/byte_tokenizer.h"
#include "core/tokenizer/char_tokenizer.h"
#include "tests/temporary_folder.h"

namespace nemo {
namespace {

using Catch::Matchers::Message;
using Texts = std::vector<std::string>;

struct Fixture {
  test::TemporaryFolder folder;
  ByteTokenizer tokenizer;
  TokenizeRequest request{.output = folder / "out"};

  std::string path(const std::string& name) const { return folder / name; }
  void input(const std::string& name, const std::string& contents) { request.inputs.push_back(folder.write(name, contents)); }
  TokenizeProgress run(const TokenizeObserver& observer = {}) const { return tokenize_files(request, tokenizer, observer); }

  Texts documents() const {
    const IndexedDataset data(request.output);
    Texts texts;
    for (int64_t i = 0; i < data.num_sequences(); ++i) {
      std::vector<int32_t> ids(data.lengths()[i]);
      data.read(i, 0, ids);
      texts.push_back(tokenizer.decode(ids, false));
    }
    return texts;
  }
};

}  // namespace

TEST_CASE("a text file is one document, a line of JSON another", "[data]") {
  Fixture fixture;
  fixture.input("a.txt", "one\n\ntwo\r\n");
  fixture.input("b.jsonl", "{\"text\": \"three\\n\"}\r\n\n  \n{\"id\": 7, \"text\": \"f\\u00fcnf\"}");
  fixture.input("c.md", "");
  const TokenizeProgress done = fixture.run();
  CHECK((fixture.documents() == Texts{"one\n\ntwo\r\n", "three\n", "f\xC3\xBCnf"}));
  CHECK(done.num_documents == 3);
  CHECK(done.num_tokens == 10 + 6 + 5);
  CHECK(done.num_empty == 1);
  CHECK(done.bytes_read == done.total_bytes);
}

TEST_CASE("documents of a text end at blank lines where that is asked", "[data]") {
  Fixture fixture;
  fixture.request.documents_by = DocumentsBy::blank_line;
  fixture.input("a.txt", "\n\none\nmore\n \t\n\n\ntwo\r\nend");
  fixture.input("b.txt", "three\n");
  fixture.run();
  CHECK((fixture.documents() == Texts{"one\nmore\n", "two\nend\n", "three\n"}));
}

TEST_CASE("lines of any length are read", "[data]") {
  Fixture fixture;
  fixture.request.documents_by = DocumentsBy::blank_line;
  Texts expected;
  std::string text;
  for (const size_t length : {16381, 16382, 16383, 16384, 16385, 32766, 32767, 32768, 100000}) {
    expected.push_back(std::string(length, 'x') + "\n");
    text += expected.back() + "\n";
  }
  fixture.input("ended.txt", text);
  for (const size_t length : {16382, 16383, 16384}) {
    expected.push_back(std::string(length, 'y') + "\n");
    fixture.input("open" + std::to_string(length), std::string(length, 'y'));
  }
  fixture.run();
  CHECK((fixture.documents() == expected));
}

TEST_CASE("the end of a document is marked where that is asked", "[data]") {
  Fixture fixture;
  fixture.request.append_end_of_document = true;
  fixture.input("a.txt", "one");
  fixture.input("b.txt", "");
  fixture.run();
  CHECK((fixture.documents() == Texts{"one<|endoftext|>"}));
  const CharTokenizer without({'e', 'n', 'o'});
  CHECK_THROWS_MATCHES(tokenize_files(fixture.request, without, {}), DataError,
                       Message("tokenizer: has no token for the end of a document; try: no --append-eod, or another tokenizer"));
}

TEST_CASE("the output is the same for any number of workers", "[data]") {
  Fixture fixture;
  std::string lines;
  for (int i = 0; i < 3000; ++i) lines += "{\"text\": \"" + std::string(1 + i * 37 % 2000, static_cast<char>('a' + i % 26)) + "\"}\n";
  fixture.input("a.jsonl", lines);
  fixture.input("b.jsonl", lines);
  std::string bin, idx;
  for (const int64_t num_workers : {1, 2, 7}) {
    fixture.request.num_workers = num_workers;
    int64_t num_reports = 0, last = 0;
    fixture.run({.progress =
                     [&](const TokenizeProgress& progress) {
                       ++num_reports;
                       CHECK(progress.num_documents > last);
                       last = progress.num_documents;
                     },
                 .skipped_bad = {}});
    CHECK(num_reports > 10);
    CHECK(last == 6000);
    if (bin.empty()) bin = read_file_bytes(fixture.path("out.bin")), idx = read_file_bytes(fixture.path("out.idx"));
    CHECK((read_file_bytes(fixture.path("out.bin")) == bin));
    CHECK((read_file_bytes(fixture.path("out.idx")) == idx));
  }
}

TEST_CASE("bad lines are named, and left out only where that is asked", "[data]") {
  Fixture fixture;
  fixture.input("a.jsonl", "{\"text\": \"one\"}\n\n{\"text\": \n{\"texts\": \"x\"}\n{\"text\": 3}\n[]\n{\"text\": \"two\"}\n");
  const std::string place = fixture.path("a.jsonl");
  CHECK_THROWS_MATCHES(fixture.run(), DataError,
                       Message(place + ":3: not JSON: {\"text\": ; try: mending the line, --json-key, or --skip-bad to leave such lines out"));
  CHECK_FALSE(std::filesystem::exists(fixture.path("out.bin")));
  CHECK_FALSE(std::filesystem::exists(fixture.path("out.idx")));

  fixture.request.skip_bad = true;
  Texts messages;
  const TokenizeProgress done = fixture.run({.progress = {}, .skipped_bad = [&](const std::string& message) { messages.push_back(message); }});
  CHECK(done.num_bad == 4);
  CHECK((messages == Texts{place + ":3: not JSON: {\"text\": ", place + ":4: no \"text\" in this line", place + ":5: \"text\" is not a string",
                           place + ":6: no \"text\" in this line"}));
  CHECK((fixture.documents() == Texts{"one", "two"}));

  fixture.request.json_key = "texts";
  fixture.run();
  CHECK((fixture.documents() == Texts{"x"}));
}

TEST_CASE("inputs that cannot be tokenised", "[data]") {
  Fixture fixture;
  const auto expect = [&](const std::filesystem::path& input, const std::string& message) {
    fixture.request.inputs = {input};
    CHECK_THROWS_MATCHES(fixture.run(), DataError, Message(input.string() + message));
    CHECK_FALSE(std::filesystem::exists(fixture.path("out.bin")));
  };
  expect(fixture.path("none.txt"), ": no such file");
  expect(fixture.folder.path(), ": not a file; try: the files in it, one by one");
  expect(fixture.folder.write("a.jsonl.zst", "x"), ": .zst files cannot be read; try: plain text or JSONL");
  expect(fixture.folder.write("empty.txt", ""), ": no document with any text in it, nor in the other inputs");
}

TEST_CASE("what a tokenizer throws on a worker comes out", "[data]") {
  Fixture fixture;
  fixture.request.num_workers = 3;
  fixture.input("a.txt", "ab");
  const CharTokenizer only_a({'a'});
  CHECK_THROWS_MATCHES(tokenize_files(fixture.request, only_a, {}), DataError,
                       Message("character tokenizer: \"b\" (byte 1 of the text) is not among its 1 characters; try: only characters "
                               "that the training text has"));
}

}  // namespace nemo
