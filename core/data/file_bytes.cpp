#include "core/data/file_bytes.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/error.h"

namespace nemo {
namespace {

FileFailure data_error(const std::string& suggestion) {
  return [suggestion](const std::string& path, const std::string& action, int error) {
    throw DataError{path, "", error == 0 ? "not a file" : "cannot " + action + ": " + strerror(error), suggestion};
  };
}

}  // namespace

std::string read_file_bytes(const std::filesystem::path& path, const std::string& suggestion, uint64_t max_bytes) {
  const OpenFile open(path.string(), data_error(suggestion));
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

MappedFile map_data_file(const std::filesystem::path& path) { return MappedFile(path.string(), data_error("")); }

}  // namespace nemo
