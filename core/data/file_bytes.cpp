#include "core/data/file_bytes.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "core/error.h"

namespace nemo {
namespace {

class OpenFile {
 public:
  OpenFile(const std::filesystem::path& path, const std::string& suggestion)
      : descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    struct stat status {};
    if (descriptor_ < 0 || ::fstat(descriptor_, &status) != 0) {
      const std::string reason = "cannot open: " + std::string(strerror(errno));
      if (descriptor_ >= 0) ::close(descriptor_);
      throw DataError{path.string(), "", reason, suggestion};
    }
    if (!S_ISREG(status.st_mode)) {
      ::close(descriptor_);
      throw DataError{path.string(), "", "not a file", suggestion};
    }
    size_ = static_cast<size_t>(status.st_size);
  }
  OpenFile(const OpenFile&) = delete;
  ~OpenFile() { ::close(descriptor_); }

  int descriptor() const { return descriptor_; }
  size_t size() const { return size_; }

 private:
  int descriptor_;
  size_t size_ = 0;
};

}  // namespace

std::string read_file_bytes(const std::filesystem::path& path, const std::string& suggestion, uint64_t max_bytes) {
  const OpenFile open(path, suggestion);
  if (open.size() > max_bytes) {
    throw DataError{path.string(), "", std::to_string(open.size()) + " bytes, more than the " + std::to_string(max_bytes) +
                                           " this kind of file may have"};
  }
  std::string bytes(open.size(), '\0');
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t count = ::read(open.descriptor(), bytes.data() + done, bytes.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) throw DataError{path.string(), "", "cannot read: " + std::string(count < 0 ? strerror(errno) : "it shrank")};
    done += static_cast<size_t>(count);
  }
  return bytes;
}

MappedFile::MappedFile(const std::filesystem::path& path) {
  const OpenFile open(path, "");
  if (open.size() == 0) return;  // an empty mapping is an error to mmap, an empty span is not one to us
  void* mapped = ::mmap(nullptr, open.size(), PROT_READ, MAP_SHARED, open.descriptor(), 0);
  if (mapped == MAP_FAILED) throw DataError{path.string(), "", "cannot map: " + std::string(strerror(errno))};
  data_ = static_cast<const std::byte*>(mapped);
  size_ = open.size();
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile::~MappedFile() {
  if (data_) ::munmap(const_cast<std::byte*>(data_), size_);
}

}  // namespace nemo
