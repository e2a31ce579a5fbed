#include "parallel/store/socket.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <thread>

#include "core/error.h"

namespace nemo {
namespace {

using Clock = std::chrono::steady_clock;
using Addresses = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

Addresses resolve(const Endpoint& endpoint, bool passive) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = passive ? AI_PASSIVE : 0;
  addrinfo* found = nullptr;
  const int status = getaddrinfo(endpoint.host.empty() ? nullptr : endpoint.host.c_str(),
                                 std::to_string(endpoint.port).c_str(), &hints, &found);
  if (status != 0)
    throw CommError{"rendezvous", to_string(endpoint), gai_strerror(status),
                    "a host name or address that this machine can resolve"};
  return {found, &freeaddrinfo};
}

// Empty when connected, else why not.
std::string try_connect(const FileDescriptor& socket, const addrinfo& address, Clock::time_point deadline) {
  if (connect(socket.get(), address.ai_addr, address.ai_addrlen) == 0) return "";
  if (errno != EINPROGRESS) return std::strerror(errno);
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
  pollfd ready{socket.get(), POLLOUT, 0};
  if (poll(&ready, 1, static_cast<int>(std::clamp<int64_t>(left.count(), 1, 5000))) <= 0) return "no answer";
  int error = 0;
  socklen_t length = sizeof(error);
  getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &length);
  return error == 0 ? "" : std::strerror(error);
}

}  // namespace

FileDescriptor::~FileDescriptor() {
  if (fd_ >= 0) close(fd_);
}

std::string to_string(const Endpoint& endpoint) {
  const bool bracket = endpoint.host.find(':') != std::string::npos;
  return (bracket ? "[" + endpoint.host + "]" : endpoint.host) + ":" + std::to_string(endpoint.port);
}

FileDescriptor listen_on(const Endpoint& endpoint) {
  const Addresses addresses = resolve(endpoint, true);
  int error = 0;
  for (const addrinfo* address = addresses.get(); address != nullptr; address = address->ai_next) {
    FileDescriptor socket(::socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const int on = 1;
    setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(socket.get(), address->ai_addr, address->ai_addrlen) == 0 && listen(socket.get(), 1024) == 0)
      return socket;
    error = errno;
  }
  const bool taken = error == EADDRINUSE;
  throw CommError{"rendezvous", to_string(endpoint), taken ? "the port is in use" : std::strerror(error),
                  taken ? "another port, or end the job that holds this one" : "an address of this machine"};
}

uint16_t local_port(const FileDescriptor& socket) {
  sockaddr_storage address{};
  socklen_t length = sizeof(address);
  getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &length);
  return ntohs(address.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(address).sin6_port
                                             : reinterpret_cast<sockaddr_in&>(address).sin_port);
}

std::string local_address(const FileDescriptor& socket) {
  sockaddr_storage address{};
  socklen_t length = sizeof(address);
  char text[NI_MAXHOST] = "";
  getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &length);
  getnameinfo(reinterpret_cast<sockaddr*>(&address), length, text, sizeof(text), nullptr, 0, NI_NUMERICHOST);
  return text;
}

FileDescriptor connect_to(const Endpoint& endpoint, std::chrono::milliseconds timeout) {
  const Clock::time_point deadline = Clock::now() + timeout;
  std::string reason;
  do {
    const Addresses addresses = resolve(endpoint, false);
    for (const addrinfo* address = addresses.get(); address != nullptr; address = address->ai_next) {
      FileDescriptor socket(::socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      reason = try_connect(socket, *address, deadline);
      if (!reason.empty()) continue;
      const int on = 1;
      setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
      setsockopt(socket.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
      return socket;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  } while (Clock::now() < deadline);
  throw CommError{"rendezvous", to_string(endpoint),
                  "cannot be reached in " + std::to_string(timeout.count() / 1000) + " s (" + reason + ")",
                  "start the first rank, check host, port and firewall"};
}

}  // namespace nemo
