#include "core/checkpoint/file.h"

#include <fcntl.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "core/error.h"

namespace nemo {
namespace {

std::string hex_of(XXH128_hash_t hash) {
  char text[33];
  std::snprintf(text, sizeof text, "%016llx%016llx", static_cast<unsigned long long>(hash.high64),
                static_cast<unsigned long long>(hash.low64));
  return text;
}

[[noreturn]] void fail(const std::string& path, const std::string& action, int error) {
  std::string suggestion;
  if (error == ENOSPC || error == EDQUOT) suggestion = "free space there, or keep fewer checkpoints";
  if (error == EACCES || error == EROFS) suggestion = "a folder this user may write to";
  throw CheckpointError{path, "", "cannot " + action + ": " + std::strerror(error), suggestion};
}

struct Descriptor {
  int value;
  ~Descriptor() { ::close(value); }
};

}  // namespace

Checksum::Checksum() : state_(XXH3_createState()) {
  if (!state_) throw std::bad_alloc();
  XXH3_128bits_reset(static_cast<XXH3_state_t*>(state_.get()));
}

void Checksum::Free::operator()(void* state) const noexcept {
  XXH3_freeState(static_cast<XXH3_state_t*>(state));
}

void Checksum::add(std::span<const std::byte> bytes) {
  if (!bytes.empty()) XXH3_128bits_update(static_cast<XXH3_state_t*>(state_.get()), bytes.data(), bytes.size());
}

std::string Checksum::hex() const {
  return hex_of(XXH3_128bits_digest(static_cast<XXH3_state_t*>(state_.get())));
}

std::string checksum(std::span<const std::byte> bytes) {
  return hex_of(XXH3_128bits(bytes.data(), bytes.size()));
}

MappedFile map_file(const std::string& path) {
  return MappedFile(path, [](const std::string& path, const std::string& action, int error) {
    if (error == 0) throw CheckpointError{path, "", "is not a regular file"};
    fail(path, action, error);
  });
}

OutputFile::OutputFile(std::string path) : path_(std::move(path)) {
  descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (descriptor_ < 0) fail(path_, "create", errno);
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : path_(std::move(other.path_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      size_(other.size_),
      checksum_(std::move(other.checksum_)) {}

OutputFile::~OutputFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void OutputFile::write(std::span<const std::byte> bytes) {
  // Checksummed and written in pieces that stay in the cache between the two.
  constexpr size_t kPieceBytes = size_t{1} << 20;
  while (!bytes.empty()) {
    const std::span<const std::byte> piece = bytes.first(std::min(bytes.size(), kPieceBytes));
    const ssize_t written = ::write(descriptor_, piece.data(), piece.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail(path_, "write", errno);
    checksum_.add(piece.first(static_cast<size_t>(written)));
    size_ += static_cast<uint64_t>(written);
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
}

void OutputFile::finish() {
  if (::fsync(descriptor_) != 0) fail(path_, "flush", errno);
  if (::close(std::exchange(descriptor_, -1)) != 0) fail(path_, "close", errno);
}

void sync_directory(const std::string& path) {
  const Descriptor directory{::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (directory.value < 0) fail(path, "open", errno);
  // EINVAL: a file system that has nothing to flush for a directory.
  if (::fsync(directory.value) != 0 && errno != EINVAL) fail(path, "flush", errno);
}

std::string read_text_file(const std::string& path) {
  const MappedFile file = map_file(path);
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

std::string shape_text(std::span<const int64_t> shape) {
  std::string text = "[";
  for (size_t dim = 0; dim < shape.size(); ++dim) text += (dim ? ", " : "") + std::to_string(shape[dim]);
  return text + "]";
}

}  // namespace nemo
