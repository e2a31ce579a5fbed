// The key-value store of a run: one thread that answers every rank. Not here: asking it (store_client.h).
#pragma once
#include <atomic>
#include <thread>

#include "parallel/store/socket.h"

namespace nemo {

// Values live as long as the server. A connection that does not speak the protocol is closed; one that says half a
// sentence and no more holds up nobody.
class StoreServer {
 public:
  // host "127.0.0.1" keeps it to this machine; empty: every address. CommError where it cannot listen.
  explicit StoreServer(const Endpoint& endpoint);
  ~StoreServer();
  StoreServer(const StoreServer&) = delete;
  StoreServer& operator=(const StoreServer&) = delete;

  uint16_t port() const { return port_; }

 private:
  FileDescriptor listener_, wake_;
  uint16_t port_;
  std::atomic<bool> closing_ = false;
  std::thread thread_;
};

}  // namespace nemo
