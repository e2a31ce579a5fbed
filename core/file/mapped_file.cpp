#include "core/file/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace nemo {
namespace {

// Closes what a constructor has opened when it throws, which its own destructor would not.
struct Closing {
  int descriptor;
  ~Closing() {
    if (descriptor >= 0) ::close(descriptor);
  }
};

}  // namespace

OpenFile::OpenFile(const std::string& path, const FileFailure& fail) : descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
  if (descriptor_ < 0) fail(path, "open", errno);
  Closing closing{descriptor_};
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0) fail(path, "inspect", errno);
  if (!S_ISREG(status.st_mode)) fail(path, "open", 0);
  size_ = static_cast<size_t>(status.st_size);
  closing.descriptor = -1;
}

OpenFile::~OpenFile() { ::close(descriptor_); }

void MappedFile::Unmap::operator()(const std::byte* data) const noexcept { ::munmap(const_cast<std::byte*>(data), size); }

MappedFile::MappedFile(const std::string& path, const FileFailure& fail) : path_(path) {
  const OpenFile file(path, fail);
  if (file.size() == 0) return;  // an empty range cannot be mapped
  void* const data = ::mmap(nullptr, file.size(), PROT_READ, MAP_PRIVATE, file.descriptor(), 0);
  if (data == MAP_FAILED) fail(path, "map", errno);
  data_ = {static_cast<const std::byte*>(data), Unmap{file.size()}};
}

}  // namespace nemo
