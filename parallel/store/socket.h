// TCP sockets for the store: owned descriptors, connecting and listening with deadlines and errors that say what to do.
// Not here: what is said over them (store_protocol.h).
#pragma once
#include <chrono>
#include <cstdint>
#include <string>
#include <utility>

namespace nemo {

class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~FileDescriptor();
  int get() const { return fd_; }

 private:
  int fd_ = -1;
};

struct Endpoint {
  std::string host;
  uint16_t port = 0;
};
std::string to_string(const Endpoint& endpoint);  // "host:29500", "[::1]:29500"

// Non-blocking, closed on exec. host empty: all addresses; port 0: any free one. CommError: port in use, not this
// machine's.
FileDescriptor listen_on(const Endpoint& endpoint);
uint16_t local_port(const FileDescriptor& socket);
std::string local_address(
    const FileDescriptor& socket);  // "192.168.0.7": of this machine, as the peer of a connection sees it

// Tries again until somebody listens there or the time is over. CommError: no such host, or nobody listens.
FileDescriptor connect_to(const Endpoint& endpoint, std::chrono::milliseconds timeout);

}  // namespace nemo
