// Writing and reading one checkpoint folder: safetensors shards, side files, and manifest.json written last.
// Not here: the folder of all checkpoints of a run (retention.h), saving beside training (checkpoint_writer.h).
//
// A checkpoint is written as <name>.partial, flushed, and renamed: a folder without that ending is whole, or damaged
// later.
#pragma once
#include <map>
#include <memory>

#include "core/checkpoint/file.h"
#include "core/checkpoint/manifest.h"

namespace nemo {

class SafetensorsFile;

// A region to save. Tensor names carry what they are: "weight/<name>", "master/<name>", "exp_avg/<name>", ...
struct BoxToSave {
  Box box;
  DType dtype = DType::fp32;
  std::span<const std::byte> bytes;  // row-major, unpadded
};
using SideFiles =
    std::map<std::string, std::string>;  // name -> text: recipe.yaml, state.json, model_config.json, tokenizer

// The three steps of a save by several ranks. One rank begins and, when all have written, commits; between, each writes
// its shard. `path` is the final name. CheckpointError on any failure, the full disk included.
void begin_checkpoint(const std::string& path);
ShardRecord write_shard(const std::string& path, int64_t shard_index, int64_t num_shards,
                        std::span<const BoxToSave> boxes);
void commit_checkpoint(const std::string& path, std::span<const ShardRecord> shards, const SideFiles& files);
void abandon_checkpoint(const std::string& path) noexcept;  // removes the partial folder

// The three at once, for one rank; a failure leaves nothing behind, and an earlier checkpoint of that name as it was.
void save_checkpoint(const std::string& path, std::span<const BoxToSave> boxes, const SideFiles& files);

struct BoxToLoad {
  Box box;
  DType dtype = DType::fp32;
  std::span<std::byte> bytes;
};
enum class Conversion { none, floats };  // none: a stored dtype other than the wanted one is an error

class CheckpointFolder {
 public:
  // Reads the manifest and compares the size of every file. CheckpointError names the file that is missing or short.
  explicit CheckpointFolder(const std::string& path);
  CheckpointFolder(CheckpointFolder&&) noexcept;
  ~CheckpointFolder();

  const std::string& path() const { return path_; }
  const Manifest& manifest() const { return manifest_; }
  bool has_tensor(std::string_view tensor) const;
  bool has_file(std::string_view name) const { return manifest_.find_file(name) != nullptr; }
  std::string read_side_file(const std::string& name) const;  // its checksum is checked

  // Fills every box from whatever regions are stored, checking the checksum of each region read. Not for two threads.
  void load(std::span<const BoxToLoad> boxes, Conversion conversion = Conversion::none);
  void verify() const;  // checksums of all files
 private:
  const SafetensorsFile& shard(const std::string& name);

  std::string path_;
  Manifest manifest_;
  std::map<std::string, std::unique_ptr<SafetensorsFile>> shards_;
};

}  // namespace nemo
