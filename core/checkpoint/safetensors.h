// The safetensors format, one file: a strict mapped reader and a streaming writer.
// Not here: sets of several files (safetensors_set.h), what the names mean (name_table.h, manifest.h).
//
// Format: u64 little-endian header length, JSON header {name: {dtype, shape, data_offsets}, "__metadata__": {..}},
// data.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/checkpoint/file.h"
#include "kernels/base/dtype.h"

namespace nemo {

struct SafetensorsEntry {
  std::string name;
  DType dtype = DType::fp32;
  std::vector<int64_t> shape = {};
  uint64_t begin = 0, end = 0;  // bytes, from the start of the data; the writer computes them
  uint64_t size_bytes() const { return end - begin; }
};
using SafetensorsMetadata = std::map<std::string, std::string>;

std::string_view safetensors_dtype(DType dtype);  // "F32", "BF16", ...
std::optional<DType> dtype_named(std::string_view safetensors_dtype);

// Opening checks everything the header says: each tensor inside the file, no two overlapping, no byte left over.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::string& path);  // CheckpointError: file, tensor, reason

  const std::vector<SafetensorsEntry>& entries() const { return entries_; }  // in data order
  const SafetensorsEntry* find(std::string_view name) const;                 // nullptr when absent
  // Valid as long as this object. Files in the wild may start their data at odd addresses: copy, do not cast.
  std::span<const std::byte> bytes(const SafetensorsEntry& entry) const;
  const SafetensorsMetadata& metadata() const { return metadata_; }
  const std::string& path() const { return file_.path(); }

 private:
  MappedFile file_;
  uint64_t data_start_ = 0;
  std::vector<SafetensorsEntry> entries_;
  std::unordered_map<std::string_view, size_t> index_;  // views into entries_
  SafetensorsMetadata metadata_;
};

enum class TensorOrder { by_name, as_given };

// The order in which a file holds its tensors: wider element types first, so that every tensor is aligned; within a
// width as asked.
void sort_for_file(std::vector<SafetensorsEntry>& tensors, TensorOrder order);
// Bytes of a declared tensor. CheckpointError naming place where that overflows.
uint64_t declared_bytes(const std::string& place, const SafetensorsEntry& tensor);

// Writes one file; no tensor is ever held whole. All tensors are declared first, then their bytes come in entries()
// order (sort_for_file's), in pieces of any size.
class SafetensorsWriter {
 public:
  SafetensorsWriter(const std::string& path, std::vector<SafetensorsEntry> tensors,
                    const SafetensorsMetadata& metadata = {}, TensorOrder order = TensorOrder::by_name);

  const std::vector<SafetensorsEntry>& entries() const { return entries_; }
  void append(std::string_view name, std::span<const std::byte> piece);  // CheckpointError out of turn or too long
  void finish();                                                         // all bytes must be there; fsync
  uint64_t file_size() const { return file_.size(); }
  std::string checksum() const { return file_.checksum(); }

 private:
  void skip_complete();

  OutputFile file_;
  std::vector<SafetensorsEntry> entries_;
  size_t current_ = 0;
  uint64_t written_ = 0;  // bytes of data so far
};

}  // namespace nemo
