// What a checkpoint folder holds, as manifest.json says: its files with sizes and checksums, and where every region of
// every tensor lies. Not here: writing and reading the folder (checkpoint_folder.h).
#pragma once
#include <optional>

#include "core/checkpoint/box.h"
#include "kernels/base/dtype.h"

namespace nemo {

struct FileRecord {
  std::string name;  // in the folder
  uint64_t size_bytes = 0;
  std::string checksum;  // XXH3-128, hex

  bool operator==(const FileRecord&) const = default;
};

// One region of a tensor, stored as one entry of a safetensors file.
struct StoredBox {
  Box box;
  DType dtype = DType::fp32;
  std::string file, entry;
  std::string checksum;  // of the entry's bytes, so that a rank can check the regions it reads and no more

  bool operator==(const StoredBox&) const = default;
};

// What one rank wrote. A group of ranks sends these, as text, to the one that commits.
struct ShardRecord {
  FileRecord file;
  std::vector<StoredBox> boxes;

  bool operator==(const ShardRecord&) const = default;
};
std::string to_text(const ShardRecord& record);
ShardRecord shard_record_from_text(const std::string& text, const std::string& place);

struct Manifest {
  std::vector<FileRecord> files;
  std::vector<StoredBox> boxes;

  const FileRecord* find_file(std::string_view name) const;  // nullptr when absent
};

// The text carries its own checksum, so a damaged manifest is known for one.
std::string to_text(const Manifest& manifest);
Manifest manifest_from_text(const std::string& text, const std::string& place);

}  // namespace nemo
