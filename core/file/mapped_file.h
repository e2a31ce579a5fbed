// Files opened for reading, and mapped. What the bytes mean, and which error a room throws, is said by those who call this.
// Not here: writing (core/checkpoint/file.h, core/data).
#pragma once
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>

namespace nemo {

// Throws the caller's own error: `action` ("open", "inspect", "map") failed with errno `error`; 0: path is no regular file.
using FileFailure = std::function<void(const std::string& path, const std::string& action, int error)>;

// A regular file opened for reading. A pipe in its place is refused, not waited for.
class OpenFile {
 public:
  OpenFile(const std::string& path, const FileFailure& fail);
  ~OpenFile();
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;

  int descriptor() const { return descriptor_; }
  size_t size() const { return size_; }  // at the moment of opening

 private:
  int descriptor_;
  size_t size_ = 0;
};

// A whole file mapped read-only, as long as it was when it was opened. Move-only.
class MappedFile {
 public:
  MappedFile(const std::string& path, const FileFailure& fail);
  std::span<const std::byte> bytes() const { return {data_.get(), data_.get_deleter().size}; }
  const std::string& path() const { return path_; }

 private:
  struct Unmap {
    size_t size;
    void operator()(const std::byte* data) const noexcept;
  };
  std::string path_;
  std::unique_ptr<const std::byte, Unmap> data_;
};

}  // namespace nemo
