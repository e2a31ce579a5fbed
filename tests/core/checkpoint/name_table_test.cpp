#include "core/checkpoint/name_table.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <numeric>

#include "core/error.h"
#include "tests/core/checkpoint/checkpoint_files.h"

using namespace nemo;
using namespace nemo::test;
using Catch::Matchers::Contains;

namespace {

constexpr NameRule kRules[] = {
    {.ours = "embedding.weight", .file = "net.wte.weight"},
    {.ours = "layers.*.wq.weight",
     .file = "net.h.*.attn.weight",
     .module = "net.blocks.*.attn.weight",
     .transpose = true},
    {.ours = "layers.*.wk.weight",
     .file = "net.h.*.attn.weight",
     .module = "net.blocks.*.attn.weight",
     .transpose = true},
    {.ours = "layers.*.wq.bias", .file = "net.h.*.attn.bias"},
    {.ours = "layers.*.wk.bias", .file = "net.h.*.attn.bias"},
    {.ours = "output.weight", .file = "head.weight"},
};
constexpr TiedName kTied[] = {{"head.weight", "net.wte.weight"}};
constexpr std::string_view kIgnored[] = {"*.mask"};
constexpr NameTable kTable{.rules = kRules, .prefix = "net.", .tied = kTied, .ignored = kIgnored};

using Values = std::vector<int32_t>;

Values copied(const TheirTensor::Part& part, const Values& theirs, size_t size) {
  Values ours(size, -1);
  run_copy(part.copy, reinterpret_cast<const std::byte*>(theirs.data()), reinterpret_cast<std::byte*>(ours.data()), 4);
  return ours;
}

Values counting(size_t size) {
  Values values(size);
  std::iota(values.begin(), values.end(), 0);
  return values;
}

struct Stored {
  std::string name;
  std::vector<int64_t> shape;
  DType dtype = DType::fp32;
  char fill = 'x';
};

std::string import_error(const std::vector<NamedShape>& ours, const std::vector<Stored>& theirs) {
  const TemporaryFolder folder;
  std::vector<SafetensorsEntry> entries;
  for (const Stored& tensor : theirs) entries.push_back({tensor.name, tensor.dtype, tensor.shape});
  SafetensorsWriter writer(folder / "model.safetensors", entries);
  for (const SafetensorsEntry& entry : writer.entries()) {
    for (const Stored& tensor : theirs) {
      if (tensor.name == entry.name)
        writer.append(entry.name, as_byte_span(std::string(entry.size_bytes(), tensor.fill)));
    }
  }
  writer.finish();
  const SafetensorsSet set(folder.path());
  std::string error = error_of<CheckpointError>([&] { plan_import(kTable, ours, set); });
  const size_t place = error.find(folder.path());
  return place == std::string::npos ? error : error.replace(place, folder.path().size(), "DIR");
}

}  // namespace

TEST_CASE("A fused transposed tensor holds its parts in order", "[checkpoint][names]") {
  // theirs [in 2, out 3 + 1]: columns 0..2 are wq, column 3 is wk
  const std::vector<NamedShape> ours = {{"layers.7.wq.weight", {3, 2}}, {"layers.7.wk.weight", {1, 2}}};
  const std::vector<TheirTensor> theirs = map_names(kTable, ours, Dialect::file);
  REQUIRE(theirs.size() == 1);
  CHECK(theirs[0].name == "net.h.7.attn.weight");
  CHECK(theirs[0].shape == std::vector<int64_t>{2, 4});
  REQUIRE(theirs[0].parts.size() == 2);
  const Values values = counting(8);
  CHECK(copied(theirs[0].parts[0], values, 6) == Values{0, 4, 1, 5, 2, 6});
  CHECK(copied(theirs[0].parts[1], values, 2) == Values{3, 7});
  CHECK(theirs[0].parts[1].ours == 1);
  // and back
  Values back(8, -1);
  for (const TheirTensor::Part& part : theirs[0].parts) {
    const Values slice = copied(part, values, part.ours == 0 ? 6 : 2);
    run_copy(part.copy.reversed(), reinterpret_cast<const std::byte*>(slice.data()),
             reinterpret_cast<std::byte*>(back.data()), 4);
  }
  CHECK(back == values);
}

TEST_CASE("The parts' order is the table's, not the caller's", "[checkpoint][names]") {
  const std::vector<NamedShape> ours = {{"layers.0.wk.bias", {1}}, {"layers.0.wq.bias", {2}}};
  const std::vector<TheirTensor> theirs = map_names(kTable, ours, Dialect::file);
  REQUIRE(theirs.size() == 1);
  CHECK(theirs[0].shape == std::vector<int64_t>{3});
  CHECK(theirs[0].parts[0].ours == 1);
  CHECK(copied(theirs[0].parts[1], counting(3), 1) == Values{2});
}

TEST_CASE("Names have a file, a bare file and a module dialect", "[checkpoint][names]") {
  const std::vector<NamedShape> ours = {{"layers.12.wq.weight", {3, 2}}, {"output.weight", {4, 2}}};
  const auto names = [&](Dialect dialect) {
    std::vector<std::string> names;
    for (const TheirTensor& tensor : map_names(kTable, ours, dialect)) names.push_back(tensor.name);
    return names;
  };
  CHECK(names(Dialect::file) == std::vector<std::string>{"net.h.12.attn.weight", "head.weight"});
  CHECK(names(Dialect::bare_file) == std::vector<std::string>{"h.12.attn.weight", "head.weight"});
  CHECK(names(Dialect::module) == std::vector<std::string>{"net.blocks.12.attn.weight", "head.weight"});
}

TEST_CASE("Experts stack and unstack along a new dimension", "[checkpoint][names]") {
  SECTION("ours stacked, theirs one by one") {
    constexpr NameRule rules[] = {
        {.ours = "layers.*.experts.up", .file = "h.*.experts.*.up.weight", .transpose = true}};
    const std::vector<NamedShape> ours = {{"layers.1.experts.up", {2, 3, 2}}};
    const std::vector<TheirTensor> theirs = map_names({.rules = rules}, ours, Dialect::file);
    REQUIRE(theirs.size() == 2);
    CHECK(theirs[1].name == "h.1.experts.1.up.weight");
    CHECK(theirs[1].shape == std::vector<int64_t>{2, 3});
    CHECK(copied(theirs[1].parts[0], counting(6), 12) == Values{-1, -1, -1, -1, -1, -1, 0, 3, 1, 4, 2, 5});
  }
  SECTION("theirs stacked and fused, ours one by one") {
    constexpr NameRule rules[] = {{.ours = "layers.*.experts.*.gate", .file = "h.*.gate_up"},
                                  {.ours = "layers.*.experts.*.up", .file = "h.*.gate_up"}};
    const std::vector<NamedShape> ours = {{"layers.0.experts.0.gate", {1, 2}},
                                          {"layers.0.experts.0.up", {1, 2}},
                                          {"layers.0.experts.1.gate", {1, 2}},
                                          {"layers.0.experts.1.up", {1, 2}}};
    const std::vector<TheirTensor> theirs = map_names({.rules = rules}, ours, Dialect::file);
    REQUIRE(theirs.size() == 1);
    CHECK(theirs[0].shape == std::vector<int64_t>{2, 2, 2});
    REQUIRE(theirs[0].parts.size() == 4);
    CHECK(theirs[0].parts[2].ours == 2);
    CHECK(copied(theirs[0].parts[2], counting(8), 2) == Values{4, 5});
    CHECK(copied(theirs[0].parts[1], counting(8), 2) == Values{2, 3});
    const std::vector<NamedShape> gap = {ours[0], ours[1], {"layers.0.experts.2.gate", {1, 2}}};
    CHECK(error_of<CheckpointError>([&] { map_names({.rules = rules}, gap, Dialect::file); }) ==
          "name table: h.0.gate_up: stacks tensors of which number 1 is missing");
    const std::vector<NamedShape> uneven = {ours[0], ours[1], ours[2]};
    CHECK(error_of<CheckpointError>([&] { map_names({.rules = rules}, uneven, Dialect::file); }) ==
          "name table: h.0.gate_up: stacks tensors of different shapes");
  }
}

TEST_CASE("A tensor of ours that no rule or two rules name is refused", "[checkpoint][names]") {
  const std::vector<NamedShape> ours = {{"layers.x.wq.weight", {3, 2}}};
  CHECK(error_of<CheckpointError>([&] { map_names(kTable, ours, Dialect::file); }) ==
        "name table: layers.x.wq.weight: matches no rule, so it has no place in the other format");
  constexpr NameRule twice[] = {{.ours = "a.*", .file = "b.*"}, {.ours = "a.1", .file = "c"}};
  const std::vector<NamedShape> one = {{"a.1", {1}}};
  CHECK(error_of<CheckpointError>([&] { map_names({.rules = twice}, one, Dialect::file); }) ==
        "name table: a.1: matches two rules");
}

TEST_CASE("Import lists what is missing, unexpected and mismatched", "[checkpoint][names]") {
  const std::vector<NamedShape> ours = {
      {"embedding.weight", {4, 2}}, {"layers.0.wq.weight", {2, 2}}, {"layers.0.wk.weight", {2, 2}}};
  const Stored embedding{"net.wte.weight", {4, 2}}, fused{"net.h.0.attn.weight", {2, 4}};
  CHECK(import_error(ours, {embedding, fused}).empty());
  CHECK(import_error(ours, {{"wte.weight", {4, 2}}, {"h.0.attn.weight", {2, 4}}, {"h.0.mask", {9}}}).empty());
  CHECK(import_error(ours, {embedding, fused, {"net.h.0.mask", {9}}}).empty());
  CHECK(import_error(ours, {embedding}) ==
        "DIR: missing tensors: net.h.0.attn.weight; try: check that config.json belongs to these weights");
  CHECK_THAT(import_error(ours, {embedding, fused, {"net.h.1.attn.weight", {2, 4}}}),
             Contains("unexpected tensors: net.h.1.attn.weight;"));
  CHECK_THAT(import_error(ours, {embedding, {"net.h.0.attn.weight", {4, 2}}}),
             Contains("mismatched tensors: net.h.0.attn.weight is [4, 2] where the model needs [2, 4];"));
  CHECK_THAT(import_error(ours, {embedding, {"net.h.0.attn.weight", {2, 4}, DType::int32}}),
             Contains("net.h.0.attn.weight is int32 where the model needs floating point"));
  CHECK_THAT(import_error(ours, {{"net.x", {1}}}),
             Contains("DIR: missing tensors: net.wte.weight, net.h.0.attn.weight; unexpected tensors: net.x;"));
  std::vector<Stored> many{embedding, fused};
  for (int i = 0; i < 10; ++i) many.push_back({"z" + std::to_string(i), {1}});
  CHECK_THAT(import_error(ours, many), Contains("unexpected tensors: z0, z1, z2, z3, z4, z5, z6, z7 and 2 more;"));
}

TEST_CASE("A tied head may be repeated in the file, unchanged", "[checkpoint][names]") {
  const std::vector<NamedShape> ours = {{"embedding.weight", {4, 2}}};
  const Stored embedding{"net.wte.weight", {4, 2}};
  CHECK(import_error(ours, {embedding, {"head.weight", {4, 2}}}).empty());
  CHECK(import_error(ours, {{"wte.weight", {4, 2}}, {"head.weight", {4, 2}}}).empty());
  CHECK_THAT(import_error(ours, {embedding, {"head.weight", {4, 2}, DType::fp32, 'y'}}),
             Contains("unexpected tensors: head.weight;"));
  CHECK_THAT(import_error(ours, {embedding, {"head.weight", {4, 2}, DType::bf16}}),
             Contains("unexpected tensors: head.weight;"));
}
