#include "core/checkpoint/safetensors.h"

#include <catch2/catch.hpp>
#include <cstring>

#include "core/error.h"
#include "tests/core/checkpoint/checkpoint_files.h"

using namespace nemo;
using namespace nemo::test;
using Catch::Matchers::Contains;

namespace {

std::string file_text(const std::string& header, const std::string& data) {
  const uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), 8) + header + data;
}

// The error that opening a file of this header and data gives.
std::string refusal(const std::string& header, const std::string& data) {
  const TemporaryFolder folder;
  write_file(folder / "bad.safetensors", file_text(header, data));
  return error_of<CheckpointError>([&] { SafetensorsFile file(folder / "bad.safetensors"); });
}

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

TEST_CASE("A safetensors file is read as written", "[checkpoint][safetensors]") {
  const TemporaryFolder folder;
  const std::string path = folder / "model.safetensors";
  const DType dtypes[] = {DType::fp64,  DType::fp32,   DType::fp16, DType::bf16,  DType::int64,  DType::int32,
                          DType::int16, DType::uint16, DType::int8, DType::uint8, DType::boolean};
  std::vector<SafetensorsEntry> tensors;
  for (const DType dtype : dtypes) tensors.push_back({std::string("t.") + std::string(name(dtype)), dtype, {3, 5}});
  tensors.push_back({"scalar", DType::fp32, {}});
  tensors.push_back({"empty", DType::fp32, {0, 7}});
  SafetensorsWriter writer(path, tensors, {{"format", "pt"}});
  std::map<std::string, std::string> expected;
  for (const SafetensorsEntry& entry : writer.entries()) {
    std::string& data = expected[entry.name];
    for (uint64_t i = 0; i < entry.size_bytes(); ++i) data += static_cast<char>(entry.name[2] * 31 + i);
    writer.append(entry.name, as_byte_span(data).first(data.size() / 3));
    writer.append(entry.name, as_byte_span(data).subspan(data.size() / 3));
  }
  writer.finish();

  const SafetensorsFile file(path);
  REQUIRE(file.entries().size() == tensors.size());
  for (const SafetensorsEntry& tensor : tensors) {
    const SafetensorsEntry* entry = file.find(tensor.name);
    REQUIRE(entry);
    CHECK(entry->dtype == tensor.dtype);
    CHECK(entry->shape == tensor.shape);
    CHECK(entry->begin % size_bytes(entry->dtype) == 0);
    CHECK(text_of(file.bytes(*entry)) == expected[tensor.name]);
  }
  CHECK(file.metadata().at("format") == "pt");
  CHECK(file.find("absent") == nullptr);
  const std::string raw = read_file(path);
  CHECK(writer.file_size() == raw.size());
  CHECK(writer.checksum() == checksum(as_byte_span(raw)));
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, raw.data(), 8);
  CHECK(header_bytes % 8 == 0);
}

TEST_CASE("The safetensors writer is deterministic in its order", "[checkpoint][safetensors]") {
  const TemporaryFolder folder;
  const std::vector<SafetensorsEntry> tensors = {
      {"b", DType::int8, {1}}, {"c", DType::fp32, {1}}, {"a", DType::fp32, {1}}};
  const auto order = [&](TensorOrder asked) {
    std::string names;
    const SafetensorsWriter writer(folder / "f", tensors, {}, asked);
    for (const SafetensorsEntry& entry : writer.entries()) names += entry.name;
    return names;
  };
  CHECK(order(TensorOrder::by_name) == "acb");
  CHECK(order(TensorOrder::as_given) == "cab");
}

TEST_CASE("The safetensors writer refuses bytes that were not declared", "[checkpoint][safetensors]") {
  const TemporaryFolder folder;
  const std::string path = folder / "f";
  SafetensorsWriter writer(path, {{"a", DType::int8, {2}}, {"b", DType::int8, {2}}});
  const std::string three = "xyz";
  CHECK(error_of<CheckpointError>([&] { writer.append("b", as_byte_span(three)); }) ==
        path + ": b: comes out of turn: a is next");
  CHECK(error_of<CheckpointError>([&] { writer.append("a", as_byte_span(three)); }) ==
        path + ": a: has more bytes than its declared shape [2]");
  CHECK(error_of<CheckpointError>([&] { writer.finish(); }) == path + ": a: was declared but not written whole");
  CHECK(error_of<CheckpointError>([&] {
          SafetensorsWriter(path, {{"a", DType::int8, {2}}, {"a", DType::fp32, {1}}});
        }) == path + ": a: is declared twice");
  CHECK_THAT(error_of<CheckpointError>([&] {
               SafetensorsWriter(path, {{"a", DType::fp32, {int64_t{1} << 40, int64_t{1} << 40}}});
             }),
             Contains("a: has shape [1099511627776, 1099511627776], whose size overflows"));
}

TEST_CASE("A full disk is a CheckpointError that names the file", "[checkpoint][safetensors]") {
  CHECK(error_of<CheckpointError>([] {
          SafetensorsWriter("/dev/full", {{"a", DType::int8, {2}}});
        }) == "/dev/full: cannot write: No space left on device; try: free space there, or keep fewer checkpoints");
}

TEST_CASE("Hostile safetensors headers are refused with the tensor and the reason", "[checkpoint][safetensors]") {
  const std::string eight = "01234567";
  const auto tensor = [](const std::string& dtype, const std::string& shape, const std::string& offsets) {
    return R"({"w":{"dtype":)" + dtype + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}";
  };
  CHECK(refusal(tensor(R"("F32")", "[2]", "[0,8]"), eight).empty());  // the frame is good
  CHECK_THAT(refusal(tensor(R"("F32")", "[2]", "[0,16]"), eight),
             Contains("bad.safetensors: w: data_offsets [0, 16] reach beyond the 8 data bytes"));
  CHECK_THAT(refusal(tensor(R"("F32")", "[2]", "[8,0]"), eight), Contains("w: data_offsets [8, 0] run backwards"));
  CHECK_THAT(refusal(tensor(R"("F32")", "[3]", "[0,8]"), eight),
             Contains("w: data_offsets [0, 8] hold 8 bytes, but F32 [3] needs 12"));
  CHECK_THAT(refusal(tensor(R"("F32")", "[4294967296,4294967296]", "[0,8]"), eight),
             Contains("w: has shape [4294967296, 4294967296], whose size overflows"));
  CHECK_THAT(refusal(tensor(R"("F32")", "[-2]", "[0,8]"), eight), Contains("w: shape holds -2, not a size"));
  CHECK_THAT(refusal(tensor(R"("F32")", "[2.0]", "[0,8]"), eight), Contains("w: shape holds 2.0, not a size"));
  CHECK_THAT(refusal(tensor(R"("F32")", "[18446744073709551615]", "[0,8]"), eight),
             Contains("w: shape holds 18446744073709551615"));
  CHECK_THAT(refusal(tensor(R"("F32")", "2", "[0,8]"), eight), Contains("w: has a shape that is not a list"));
  CHECK_THAT(refusal(tensor(R"("F32")", "[2]", "[0]"), eight), Contains("w: has data_offsets that are not a pair"));
  CHECK_THAT(refusal(tensor(R"("F8_E5M2")", "[8]", "[0,8]"), eight),
             Contains("w: has dtype \"F8_E5M2\", which is not one nemo reads"));
  CHECK_THAT(refusal(tensor("7", "[8]", "[0,8]"), eight), Contains("w: has dtype 7"));
  CHECK_THAT(refusal(tensor(R"("I8")", "[6]", "[0,6]"), eight), Contains("has 2 bytes after the last tensor"));
  CHECK_THAT(refusal(tensor(R"("I8")", "[6]", "[2,8]"), eight),
             Contains("w: leaves 2 bytes before it that belong to no tensor"));
  CHECK_THAT(refusal(R"({"w":{"dtype":"I8","shape":[8]}})", eight), Contains("w: has no data_offsets in the header"));
  CHECK_THAT(refusal(R"({"w":{"dtype":"I8","shape":[8],"data_offsets":[0,8],"x":1}})", eight),
             Contains("w: has an unknown header key 'x'"));
  CHECK_THAT(refusal(R"({"w":3})", eight), Contains("w: is not an object in the header"));
  CHECK_THAT(
      refusal(
          R"({"a":{"dtype":"I8","shape":[6],"data_offsets":[0,6]},"b":{"dtype":"I8","shape":[4],"data_offsets":[4,8]}})",
          eight),
      Contains("b: overlaps a"));
  CHECK_THAT(
      refusal(
          R"({"a":{"dtype":"I8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"F16","shape":[1],"data_offsets":[1,3]}})",
          "012"),
      Contains("b: data_offsets [1, 3] are not a multiple of the element size"));
  CHECK_THAT(
      refusal(
          R"({"w":{"dtype":"I8","shape":[8],"data_offsets":[0,8]},"w":{"dtype":"I8","shape":[8],"data_offsets":[0,8]}})",
          eight),
      Contains("w: appears twice in the header"));
  CHECK_THAT(refusal(R"({"__metadata__":{"format":1}})", ""),
             Contains("__metadata__: holds 'format', which is not text"));
  CHECK_THAT(refusal(R"({"__metadata__":[]})", ""), Contains("__metadata__: is not an object"));
  CHECK_THAT(refusal("[1]", ""), Contains("header: is not a JSON object"));
  CHECK_THAT(refusal(R"({"w":)", ""), Contains("header: is not valid JSON"));
  CHECK_THAT(refusal(std::string(100'000, '['), ""), Contains("header: is nested deeper than the format allows"));
}

TEST_CASE("Safetensors files that lie about their length are refused", "[checkpoint][safetensors]") {
  const TemporaryFolder folder;
  const std::string path = folder / "bad.safetensors";
  const auto error = [&](const std::string& text) {
    write_file(path, text);
    return error_of<CheckpointError>([&] { SafetensorsFile file(path); });
  };
  CHECK(error("") == path + ": header: is cut short: the file has 0 bytes");
  CHECK(error("abc") == path + ": header: is cut short: the file has 3 bytes");
  CHECK_THAT(error(std::string("\xff\xff\xff\xff\xff\xff\xff\xff", 8) + "{}"),
             Contains("header: claims 18446744073709551615 bytes, more than the format allows"));
  CHECK_THAT(error(std::string("\x40\0\0\0\0\0\0\0", 8) + "{}"),
             Contains("header: claims 64 bytes, but the file ends before"));
  CHECK_THAT(error_of<CheckpointError>([&] { SafetensorsFile file(folder / "absent"); }),
             Contains("absent: cannot open: No such file or directory"));
  CHECK_THAT(error_of<CheckpointError>([&] { SafetensorsFile file(folder.path()); }),
             Contains("is not a regular file"));
}

TEST_CASE("A header that is not padded to eight bytes is read all the same", "[checkpoint][safetensors]") {
  const TemporaryFolder folder;
  write_file(folder / "old.safetensors",
             file_text(R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}} )", "abcd"));
  const SafetensorsFile file(folder / "old.safetensors");
  CHECK(text_of(file.bytes(*file.find("w"))) == "abcd");
}
