// Files as bytes: read whole, or mapped. What the bytes mean is said by those who call this.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace nemo {

// The whole file. Throws DataError with the path when it cannot be read, or is over max_bytes.
std::string read_file_bytes(const std::filesystem::path& path, const std::string& suggestion = "",
                            uint64_t max_bytes = uint64_t{1} << 36);

// A file mapped read-only, for as long as this object lives. Move-only.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);  // throws DataError when it cannot be mapped
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&&) = delete;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace nemo
