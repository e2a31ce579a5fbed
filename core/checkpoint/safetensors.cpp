#include "core/checkpoint/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "core/error.h"

namespace nemo {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

static_assert(std::endian::native == std::endian::little, "safetensors data is little-endian and is used in place");

constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the limit of the reference implementation

struct DtypeName {
  DType dtype;
  std::string_view name;
};
constexpr DtypeName kDtypeNames[] = {{DType::fp64, "F64"},  {DType::fp32, "F32"},    {DType::fp16, "F16"},
                                     {DType::bf16, "BF16"}, {DType::int64, "I64"},   {DType::int32, "I32"},
                                     {DType::int16, "I16"}, {DType::uint16, "U16"},  {DType::int8, "I8"},
                                     {DType::uint8, "U8"},  {DType::boolean, "BOOL"}};

// Bytes of a tensor, or nothing where that exceeds 63 bits. Dimensions are not negative.
std::optional<uint64_t> tensor_bytes(const std::vector<int64_t>& shape, DType dtype) {
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return 0;
  uint64_t bytes = size_bytes(dtype);
  for (const int64_t size : shape) {
    if (bytes > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) / static_cast<uint64_t>(size))
      return std::nullopt;
    bytes *= static_cast<uint64_t>(size);
  }
  return bytes;
}

// Names repeat silently in most JSON readers, the later winning; a header that does so is not to be trusted.
json parse_header(const std::string& path, std::string_view text) {
  std::vector<std::set<std::string>> keys;
  const json::parser_callback_t check = [&](int depth, json::parse_event_t event, json& value) {
    if (depth > 4) throw CheckpointError{path, "header", "is nested deeper than the format allows"};
    if (event == json::parse_event_t::object_start) keys.emplace_back();
    if (event == json::parse_event_t::object_end) keys.pop_back();
    if (event == json::parse_event_t::key && !keys.back().insert(value.get<std::string>()).second) {
      throw CheckpointError{path, value.get<std::string>(), "appears twice in the header"};
    }
    return true;
  };
  try {
    return json::parse(text, check);
  } catch (const json::exception& error) {
    throw CheckpointError{path, "header", std::string("is not valid JSON (") + error.what() + ")"};
  }
}

uint64_t unsigned_of(const std::string& path, const std::string& name, const json& value, const char* what) {
  constexpr uint64_t kMax = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  if (!value.is_number_unsigned() || value.get<uint64_t>() > kMax) {
    throw CheckpointError{path, name, std::string(what) + " holds " + value.dump() + ", not a size"};
  }
  return value.get<uint64_t>();
}

SafetensorsEntry entry_of(const std::string& path, const std::string& name, const json& value, uint64_t data_bytes) {
  const auto fail = [&](const std::string& reason) { throw CheckpointError{path, name, reason}; };
  if (!value.is_object()) fail("is not an object in the header");
  for (const auto& [key, unused] : value.items()) {
    if (key != "dtype" && key != "shape" && key != "data_offsets") fail("has an unknown header key '" + key + "'");
  }
  for (const char* key : {"dtype", "shape", "data_offsets"}) {
    if (!value.contains(key)) fail(std::string("has no ") + key + " in the header");
  }
  SafetensorsEntry entry;
  entry.name = name;
  const json& dtype = value["dtype"];
  const std::optional<DType> known =
      dtype.is_string() ? dtype_named(dtype.get_ref<const std::string&>()) : std::nullopt;
  if (!known) fail("has dtype " + dtype.dump() + ", which is not one nemo reads");
  entry.dtype = *known;
  if (!value["shape"].is_array()) fail("has a shape that is not a list");
  for (const json& size : value["shape"])
    entry.shape.push_back(static_cast<int64_t>(unsigned_of(path, name, size, "shape")));
  const json& offsets = value["data_offsets"];
  if (!offsets.is_array() || offsets.size() != 2) fail("has data_offsets that are not a pair");
  entry.begin = unsigned_of(path, name, offsets[0], "data_offsets");
  entry.end = unsigned_of(path, name, offsets[1], "data_offsets");
  const std::string range = "data_offsets [" + std::to_string(entry.begin) + ", " + std::to_string(entry.end) + "]";
  if (entry.begin > entry.end) fail(range + " run backwards");
  if (entry.end > data_bytes)
    fail(range + " reach beyond the " + std::to_string(data_bytes) + " data bytes of the file");
  const std::optional<uint64_t> bytes = tensor_bytes(entry.shape, entry.dtype);
  if (!bytes) fail("has shape " + shape_text(entry.shape) + ", whose size overflows");
  if (*bytes != entry.size_bytes()) {
    fail(range + " hold " + std::to_string(entry.size_bytes()) + " bytes, but " +
         std::string(safetensors_dtype(entry.dtype)) + " " + shape_text(entry.shape) + " needs " +
         std::to_string(*bytes));
  }
  if (entry.begin % size_bytes(entry.dtype) != 0) fail(range + " are not a multiple of the element size");
  return entry;
}

}  // namespace

std::optional<DType> dtype_named(std::string_view text) {
  for (const DtypeName& entry : kDtypeNames) {
    if (entry.name == text) return entry.dtype;
  }
  return std::nullopt;
}

std::string_view safetensors_dtype(DType dtype) {
  for (const DtypeName& entry : kDtypeNames) {
    if (entry.dtype == dtype) return entry.name;
  }
  throw CheckpointError{"safetensors", std::string(name(dtype)), "has no name in the format"};
}

void sort_for_file(std::vector<SafetensorsEntry>& tensors, TensorOrder order) {
  if (order == TensorOrder::by_name) {
    std::sort(tensors.begin(), tensors.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  }
  std::stable_sort(tensors.begin(), tensors.end(),
                   [](const auto& a, const auto& b) { return size_bytes(a.dtype) > size_bytes(b.dtype); });
}

uint64_t declared_bytes(const std::string& place, const SafetensorsEntry& tensor) {
  const std::optional<uint64_t> bytes = tensor_bytes(tensor.shape, tensor.dtype);
  if (!bytes)
    throw CheckpointError{place, tensor.name, "has shape " + shape_text(tensor.shape) + ", whose size overflows"};
  return *bytes;
}

SafetensorsFile::SafetensorsFile(const std::string& path) : file_(map_file(path)) {
  const std::span<const std::byte> all = file_.bytes();
  uint64_t header_bytes = 0;
  if (all.size() < sizeof header_bytes)
    throw CheckpointError{path, "header", "is cut short: the file has " + std::to_string(all.size()) + " bytes"};
  std::memcpy(&header_bytes, all.data(), sizeof header_bytes);
  if (header_bytes > kMaxHeaderBytes) {
    throw CheckpointError{path, "header",
                          "claims " + std::to_string(header_bytes) + " bytes, more than the format allows",
                          "check that this is a safetensors file and fetch it again"};
  }
  if (header_bytes > all.size() - sizeof header_bytes) {
    throw CheckpointError{path, "header", "claims " + std::to_string(header_bytes) + " bytes, but the file ends before",
                          "fetch the file again"};
  }
  data_start_ = sizeof header_bytes + header_bytes;
  const uint64_t data_bytes = all.size() - data_start_;
  const json header =
      parse_header(path, {reinterpret_cast<const char*>(all.data()) + sizeof header_bytes, header_bytes});
  if (!header.is_object()) throw CheckpointError{path, "header", "is not a JSON object"};
  for (const auto& [name, value] : header.items()) {
    if (name != "__metadata__") {
      entries_.push_back(entry_of(path, name, value, data_bytes));
      continue;
    }
    if (!value.is_object()) throw CheckpointError{path, name, "is not an object"};
    for (const auto& [key, text] : value.items()) {
      if (!text.is_string()) throw CheckpointError{path, name, "holds '" + key + "', which is not text"};
      metadata_[key] = text.get<std::string>();
    }
  }
  std::sort(entries_.begin(), entries_.end(), [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  uint64_t covered = 0;
  for (size_t i = 0; i < entries_.size(); ++i) {
    const SafetensorsEntry& entry = entries_[i];
    if (entry.begin < covered) throw CheckpointError{path, entry.name, "overlaps " + entries_[i - 1].name};
    if (entry.begin > covered) {
      throw CheckpointError{
          path, entry.name,
          "leaves " + std::to_string(entry.begin - covered) + " bytes before it that belong to no tensor"};
    }
    covered = entry.end;
    index_.emplace(entry.name, i);
  }
  if (covered != data_bytes) {
    throw CheckpointError{path, "", "has " + std::to_string(data_bytes - covered) + " bytes after the last tensor",
                          "fetch the file again"};
  }
}

const SafetensorsEntry* SafetensorsFile::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &entries_[found->second];
}

std::span<const std::byte> SafetensorsFile::bytes(const SafetensorsEntry& entry) const {
  return file_.bytes().subspan(data_start_ + entry.begin, entry.size_bytes());
}

SafetensorsWriter::SafetensorsWriter(const std::string& path, std::vector<SafetensorsEntry> tensors,
                                     const SafetensorsMetadata& metadata, TensorOrder order)
    : file_(path), entries_(std::move(tensors)) {
  sort_for_file(entries_, order);
  ordered_json header = ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::set<std::string_view> names;
  uint64_t offset = 0;
  for (SafetensorsEntry& entry : entries_) {
    if (entry.name == "__metadata__" || !names.insert(entry.name).second)
      throw CheckpointError{path, entry.name, "is declared twice"};
    entry.begin = offset;
    entry.end = offset += declared_bytes(path, entry);
  }
  // One object per tensor, joined by hand: an ordered_json of n keys costs n^2 to fill.
  std::string text = header.dump();
  text.pop_back();
  for (const SafetensorsEntry& entry : entries_) {
    const ordered_json value = {
        {"dtype", safetensors_dtype(entry.dtype)}, {"shape", entry.shape}, {"data_offsets", {entry.begin, entry.end}}};
    if (text.size() > 1) text += ',';
    text += ordered_json(entry.name).dump() + ":" + value.dump();
  }
  text += '}';
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t header_bytes = text.size();
  file_.write({reinterpret_cast<const std::byte*>(&header_bytes), sizeof header_bytes});
  file_.write(as_byte_span(text));
  skip_complete();
}

// Tensors without elements need no append().
void SafetensorsWriter::skip_complete() {
  while (current_ < entries_.size() && written_ == entries_[current_].end) ++current_;
}

void SafetensorsWriter::append(std::string_view name, std::span<const std::byte> piece) {
  if (piece.empty()) return;
  const std::string subject(name);
  if (current_ == entries_.size()) throw CheckpointError{file_.path(), subject, "comes after the last declared tensor"};
  const SafetensorsEntry& entry = entries_[current_];
  if (entry.name != name) throw CheckpointError{file_.path(), subject, "comes out of turn: " + entry.name + " is next"};
  if (piece.size() > entry.end - written_) {
    throw CheckpointError{file_.path(), subject, "has more bytes than its declared shape " + shape_text(entry.shape)};
  }
  file_.write(piece);
  written_ += piece.size();
  skip_complete();
}

void SafetensorsWriter::finish() {
  if (current_ != entries_.size())
    throw CheckpointError{file_.path(), entries_[current_].name, "was declared but not written whole"};
  file_.finish();
}

}  // namespace nemo
