// Moves bytes among the ranks of one group in host memory: all that an implementation for CPU ranks has to bring.
// Not here: collectives made of it (host_communicator.h).
#pragma once
#include <cstddef>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

namespace nemo {

struct OutgoingBytes {
  int peer;
  const void* data;
  size_t bytes;
};  // peer: rank in the group
struct IncomingBytes {
  int peer;
  void* data;
  size_t bytes;
};

struct TransportFailure : std::runtime_error {
  TransportFailure(int failed_peer, const std::string& reason) : std::runtime_error(reason), peer(failed_peer) {}
  int peer;  // rank in the group; -1 where no single one is to blame
};

class HostTransport {
 public:
  virtual ~HostTransport() = default;
  // Sends and receives all of these and returns when done with the memory. Between two ranks messages keep their order,
  // also from call to call; nothing of 0 bytes travels. `call` is what both ends believe they are in. Called by one
  // thread. TransportFailure when a peer fails or the deadline passes; the transport is of no use afterwards.
  virtual void exchange(std::span<const OutgoingBytes> outgoing, std::span<const IncomingBytes> incoming,
                        std::string_view call) = 0;
  // Makes an exchange that is under way, and all later ones, fail. From any thread.
  virtual void abandon() noexcept = 0;
};

}  // namespace nemo
