// Files as checkpoints need them: mapped for reading (core/file), checksummed and flushed to the disk when written.
// Not here: any format (safetensors.h, manifest.h).
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "core/file/mapped_file.h"

namespace nemo {

// XXH3-128 of bytes that come in pieces.
class Checksum {
 public:
  Checksum();
  void add(std::span<const std::byte> bytes);
  std::string hex() const;  // 32 digits; adding may go on

 private:
  struct Free {
    void operator()(void* state) const noexcept;
  };
  std::unique_ptr<void, Free> state_;
};
std::string checksum(std::span<const std::byte> bytes);

inline std::span<const std::byte> as_byte_span(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

MappedFile map_file(const std::string& path);  // CheckpointError when it cannot be opened or is no regular file

// A new file (an old one of that name is emptied). Errors, a full disk among them, are CheckpointErrors naming the
// path.
class OutputFile {
 public:
  explicit OutputFile(std::string path);
  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&&) = delete;
  ~OutputFile();  // closes; without finish() the bytes may not be on the disk

  void write(std::span<const std::byte> bytes);
  void finish();  // fsync and close
  uint64_t size() const { return size_; }
  std::string checksum() const { return checksum_.hex(); }  // of everything written so far
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  int descriptor_ = -1;
  uint64_t size_ = 0;
  Checksum checksum_;
};

void sync_directory(const std::string& path);  // makes creations, removals and renames in it durable
std::string read_text_file(const std::string& path);

// [2, 3], as the error messages write shapes and offsets.
std::string shape_text(std::span<const int64_t> shape);

}  // namespace nemo
