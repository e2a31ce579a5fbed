// Arrays of a safetensors file as integers, for comparing with expected values. Trusts its file: for tests alone.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace nemo::test {

struct GoldenArray {
  std::vector<int64_t> shape, values;
};

// Element types U8, BOOL, U16, I32, I64 and F32 (whole numbers).
std::map<std::string, GoldenArray> read_golden_arrays(const std::filesystem::path& file);

}  // namespace nemo::test
