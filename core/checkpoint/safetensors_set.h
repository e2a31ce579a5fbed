// A model's weights as Hugging Face lays them out: one model.safetensors, or shards with model.safetensors.index.json.
// Not here: what the names mean (name_table.h), config.json (models/).
#pragma once
#include <deque>
#include <map>

#include "core/checkpoint/safetensors.h"

namespace nemo {

// Lookup by tensor name over one file or all shards.
class SafetensorsSet {
 public:
  // A folder, or the path of one .safetensors file. The index and the shards must agree exactly, else CheckpointError.
  explicit SafetensorsSet(const std::string& path);

  std::vector<std::string> names() const;                     // sorted
  const SafetensorsEntry* find(std::string_view name) const;  // nullptr when absent
  std::span<const std::byte> bytes(std::string_view name) const;
  const SafetensorsMetadata& metadata() const { return files_.front().metadata(); }
  const std::string& path() const { return path_; }

 private:
  struct Located {
    const SafetensorsFile* file;
    const SafetensorsEntry* entry;
  };
  void add(const SafetensorsFile& file);

  std::string path_;
  std::deque<SafetensorsFile> files_;  // addresses stay
  std::map<std::string_view, Located> tensors_;
};

// Writes such a folder. Tensors fill shards in the order given, none above max_shard_bytes unless a single tensor is;
// one shard alone is model.safetensors, more are model-00001-of-0000N.safetensors with the index.
class SafetensorsSetWriter {
 public:
  SafetensorsSetWriter(const std::string& folder, const std::vector<SafetensorsEntry>& tensors,
                       uint64_t max_shard_bytes, const SafetensorsMetadata& metadata = {{"format", "pt"}});

  const std::vector<SafetensorsEntry>& entries() const { return order_; }  // the order append() expects
  void append(std::string_view name, std::span<const std::byte> piece);
  void finish();

 private:
  struct Shard {
    std::string file;
    std::vector<SafetensorsEntry> tensors;
  };
  void open_next();

  std::string folder_;
  SafetensorsMetadata metadata_;
  std::vector<Shard> shards_;
  std::vector<SafetensorsEntry> order_;
  std::map<std::string, size_t, std::less<>> shard_of_;
  std::deque<SafetensorsWriter> open_;  // at most one
  size_t current_ = 0;
};

}  // namespace nemo
