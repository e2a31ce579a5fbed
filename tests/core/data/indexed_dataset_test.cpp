#include "core/data/indexed_dataset.h"

#include <catch2/catch.hpp>
#include <cstring>

#include "core/error.h"
#include "tests/temporary_folder.h"

namespace nemo {
namespace {

using Catch::Matchers::Message;
using Ids = std::vector<int32_t>;

Ids read_all(const IndexedDataset& data, int64_t sequence) {
  Ids ids(data.lengths()[sequence]);
  data.read(sequence, 0, ids);
  return ids;
}

// The places of an .idx with three sequences.
constexpr size_t kVersionAt = 9, kTypeAt = 17, kSequencesAt = 18, kBoundariesAt = 26, kLengthsAt = 34, kOffsetsAt = 46,
                 kDocumentsAt = 70, kIndexBytes = 102;

class SmallSet {
 public:
  SmallSet() {
    IndexedDatasetWriter writer(prefix(), 1000);
    for (const Ids& document : {Ids{1, 2, 3}, Ids{}, Ids{4, 999}}) writer.add_document(document);
    writer.finish();
    index_ = read_file_bytes(prefix() + ".idx");
    REQUIRE(index_.size() == kIndexBytes);
  }
  std::string prefix() const { return folder_ / "set"; }

  template <class T>
  void expect(size_t at, T value, const std::string& message) {
    std::string changed = index_;
    std::memcpy(&changed[at], &value, sizeof(value));
    expect_index(changed, message);
  }
  void expect_index(const std::string& bytes, const std::string& message) {
    folder_.write("set.idx", bytes);
    CHECK_THROWS_MATCHES(IndexedDataset(prefix()), DataError, Message(prefix() + message));
  }
  const std::string& index() const { return index_; }
  const test::TemporaryFolder& folder() const { return folder_; }

 private:
  test::TemporaryFolder folder_;
  std::string index_;
};

}  // namespace

TEST_CASE("indexed data goes to disk and back", "[data]") {
  for (const int64_t vocab_size : {65499, 65500}) {
    const test::TemporaryFolder folder;
    const auto prefix = folder / "made/for/it/set";
    const Ids long_document(70000, 65498);
    {
      IndexedDatasetWriter writer(prefix, vocab_size);
      writer.add_document(Ids{0, 7, 65498});
      writer.add_document({});
      writer.add_document(long_document);
      CHECK(writer.num_documents() == 3);
      CHECK(writer.num_tokens() == 70003);
      writer.finish();
    }
    const IndexedDataset data(prefix);
    CHECK(data.token_type() == (vocab_size < 65500 ? TokenType::u16 : TokenType::i32));
    CHECK(std::filesystem::file_size(prefix + ".bin") == 70003u * (vocab_size < 65500 ? 2 : 4));
    CHECK(data.num_documents() == 3);
    CHECK(data.num_tokens() == 70003);
    CHECK((read_all(data, 0) == Ids{0, 7, 65498}));
    CHECK(read_all(data, 1).empty());
    CHECK((read_all(data, 2) == long_document));
    Ids part(2);
    data.read(0, 1, part);
    CHECK((part == Ids{7, 65498}));
    CHECK(data.max_token_id() == 65498);
  }
}

TEST_CASE("the index of a set is, byte for byte, the format's", "[data]") {
  const SmallSet set;
  std::string expected("MMIDIDX\0\0", 9);
  const auto put = [&](auto value) { expected.append(reinterpret_cast<const char*>(&value), sizeof(value)); };
  put(uint64_t{1}), put(uint8_t{8}), put(uint64_t{3}), put(uint64_t{4});
  for (const int32_t length : {3, 0, 2}) put(length);
  for (const int64_t offset : {0, 6, 6}) put(offset);
  for (const int64_t boundary : {0, 1, 2, 3}) put(boundary);
  CHECK(set.index() == expected);
}

TEST_CASE("what an unfinished writer wrote goes away", "[data]") {
  const SmallSet set;
  { IndexedDatasetWriter(set.prefix(), 10).add_document(Ids{1}); }
  CHECK_FALSE(std::filesystem::exists(set.prefix() + ".bin"));
  CHECK_FALSE(std::filesystem::exists(set.prefix() + ".idx"));
}

TEST_CASE("ids that do not fit are not written", "[data]") {
  const test::TemporaryFolder folder;
  IndexedDatasetWriter writer(folder / "set", 1000);
  const std::string bin = folder / "set.bin";
  CHECK_THROWS_MATCHES(writer.add_document(Ids{65536}), DataError, Message(bin + ": token id 65536 does not fit u16"));
  CHECK_THROWS_MATCHES(writer.add_document(Ids{-1}), DataError, Message(bin + ": token id -1 does not fit u16"));
  folder.write("file", "");
  CHECK_THROWS_MATCHES(IndexedDatasetWriter(folder / "file/set", 10), DataError,
                       Message(folder / "file/set.bin" + ": cannot be written; try: a folder that can be written to"));
}

TEST_CASE("missing files of a set", "[data]") {
  const SmallSet set;
  CHECK_THROWS_MATCHES(IndexedDataset(set.prefix() + "x"), DataError,
                       Message(set.prefix() + "x.idx: cannot open: No such file or directory"));
  std::filesystem::remove(set.prefix() + ".bin");
  CHECK_THROWS_MATCHES(IndexedDataset(set.prefix()), DataError, Message(set.prefix() + ".bin: cannot open: No such file or directory"));
}

TEST_CASE("corrupt indexes are refused", "[data]") {
  SmallSet set;
  set.expect(0, 'X', ".idx: not an index of token data: it does not begin with MMIDIDX");
  set.expect(kVersionAt, uint64_t{2}, ".idx: version 2 where only 1 is known");
  set.expect(kTypeAt, uint8_t{6}, ".idx: token type 6 is floating point, not token ids");
  set.expect(kTypeAt, uint8_t{9}, ".idx: unknown token type 9");
  set.expect(kSequencesAt, uint64_t{1} << 62, ".idx: the file ends inside its sequence lengths (it has 102 bytes)");
  set.expect(kSequencesAt, uint64_t{20}, ".idx: the file ends inside its sequence lengths (it has 102 bytes)");
  set.expect(kSequencesAt, uint64_t{10}, ".idx: the file ends inside its sequence offsets (it has 102 bytes)");
  set.expect(kBoundariesAt, ~uint64_t{0}, ".idx: the file ends inside its document boundaries (it has 102 bytes)");
  set.expect(kBoundariesAt, uint64_t{3}, ".idx: 8 bytes follow the document boundaries");
  set.expect(kLengthsAt, int32_t{-1}, ".idx: sequence 0 has length -1");
  set.expect(kOffsetsAt, int64_t{1}, ".idx: sequence 0 begins at byte 1, which is no token's place");
  set.expect(kOffsetsAt, int64_t{-2}, ".idx: sequence 0 begins at byte -2, which is no token's place");
  set.expect(kOffsetsAt, int64_t{6}, ".bin: cut short: sequence 0 needs bytes 6 to 12, the file has 10");
  set.expect(kLengthsAt, int32_t{INT32_MAX}, ".bin: cut short: sequence 0 needs bytes 0 to 4294967294, the file has 10");
  for (const auto& [at, value] : {std::pair{kDocumentsAt, 1}, {kDocumentsAt + 8, 3}, {kDocumentsAt + 24, 2}, {kDocumentsAt + 16, -1}}) {
    set.expect(at, int64_t{value}, ".idx: document boundaries do not ascend from 0 to the 3 sequences");
  }
  set.expect_index("", ".idx: the file ends inside its header (it has 0 bytes)");
  set.expect_index(set.index().substr(0, 12), ".idx: the file ends inside its version (it has 12 bytes)");
  set.expect_index(set.index() + "ab", ".idx: 2 bytes follow the document boundaries");
  set.folder().write("set.idx", set.index() + "abc");  // a mode for each sequence is allowed
  CHECK(IndexedDataset(set.prefix()).num_tokens() == 5);
}

TEST_CASE("a token file cut short is refused", "[data]") {
  const SmallSet set;
  std::filesystem::resize_file(set.prefix() + ".bin", 9);
  CHECK_THROWS_MATCHES(IndexedDataset(set.prefix()), DataError,
                       Message(set.prefix() + ".bin: cut short: sequence 2 needs bytes 6 to 10, the file has 9"));
}

TEST_CASE("every integer type is read", "[data]") {
  SmallSet set;
  const auto check = [&](TokenType type, auto first, auto second, const Ids& expected) {
    std::string index = set.index(), bin;
    index[kTypeAt] = static_cast<char>(type);
    const int32_t lengths[] = {2, 0, 0};
    const int64_t offsets[] = {0, 0, 0};
    std::memcpy(&index[kLengthsAt], lengths, sizeof(lengths));
    std::memcpy(&index[kOffsetsAt], offsets, sizeof(offsets));
    bin.append(reinterpret_cast<const char*>(&first), sizeof(first)).append(reinterpret_cast<const char*>(&second), sizeof(second));
    set.folder().write("set.idx", index);
    set.folder().write("set.bin", bin);
    const IndexedDataset data(set.prefix());
    CHECK((read_all(data, 0) == expected));
    return data.max_token_id();
  };
  CHECK(check(TokenType::u8, uint8_t{200}, uint8_t{1}, {200, 1}) == 200);
  CHECK(check(TokenType::i8, int8_t{100}, int8_t{-1}, {100, -1}) == 100);
  CHECK(check(TokenType::i16, int16_t{30000}, int16_t{-1}, {30000, -1}) == 30000);
  CHECK(check(TokenType::u16, uint16_t{60000}, uint16_t{1}, {60000, 1}) == 60000);
  CHECK(check(TokenType::i32, int32_t{1 << 30}, int32_t{1}, {1 << 30, 1}) == 1 << 30);
  CHECK(check(TokenType::i64, int64_t{1} << 40, int64_t{-5}, {INT32_MAX, -1}) == int64_t{1} << 40);
}

TEST_CASE("data and vocabulary must match", "[data]") {
  const SmallSet set;
  const IndexedDataset data(set.prefix());
  CHECK_NOTHROW(check_vocabulary(data, 1000));
  CHECK_THROWS_MATCHES(check_vocabulary(data, 999), DataError,
                       Message(set.prefix() + ".bin: holds token id 999, the model's vocabulary has 999 ids; try: the tokenizer that "
                                              "made this data, or model.vocab_size of at least 1000"));
}

}  // namespace nemo
