#include "tests/core/data/golden_arrays.h"

#include <cstring>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "core/data/file_bytes.h"

namespace nemo::test {
namespace {

template <class T>
std::vector<int64_t> widen(const std::string& bytes, size_t begin, size_t end) {
  std::vector<int64_t> values;
  for (size_t at = begin; at < end; at += sizeof(T)) {
    T value;
    std::memcpy(&value, bytes.data() + at, sizeof(T));
    values.push_back(static_cast<int64_t>(value));
  }
  return values;
}

}  // namespace

std::map<std::string, GoldenArray> read_golden_arrays(const std::filesystem::path& file) {
  const std::string bytes = read_file_bytes(file);
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, bytes.data(), sizeof(header_bytes));
  const auto header = nlohmann::json::parse(bytes.substr(8, header_bytes));
  std::map<std::string, GoldenArray> arrays;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    const size_t begin = 8 + header_bytes + entry["data_offsets"][0].get<size_t>();
    const size_t end = 8 + header_bytes + entry["data_offsets"][1].get<size_t>();
    const std::string type = entry["dtype"];
    GoldenArray& array = arrays[name];
    array.shape = entry["shape"].get<std::vector<int64_t>>();
    if (type == "U8" || type == "BOOL") array.values = widen<uint8_t>(bytes, begin, end);
    else if (type == "U16") array.values = widen<uint16_t>(bytes, begin, end);
    else if (type == "I32") array.values = widen<int32_t>(bytes, begin, end);
    else if (type == "I64") array.values = widen<int64_t>(bytes, begin, end);
    else if (type == "F32") array.values = widen<float>(bytes, begin, end);
    else throw std::runtime_error(file.string() + ": " + name + " is of type " + type);
  }
  return arrays;
}

}  // namespace nemo::test
