// Asks the key-value store of a run. Not here: serving it (store_server.h), what the keys mean (whoever uses them).
#pragma once
#include <chrono>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "parallel/store/socket.h"

namespace nemo {

// One connection; calls of several threads take turns, so a thread that waits long wants a client of its own
// (another()). CommError when the store is gone or does not answer in time. Keys begin with the prefix, which nobody
// sees.
class StoreClient {
 public:
  // timeout: for somebody to listen there. prefix: keeps the attempts of a restarted job apart.
  StoreClient(Endpoint endpoint, std::string prefix, std::chrono::milliseconds timeout);
  StoreClient another(std::chrono::milliseconds timeout = std::chrono::seconds(30)) const {
    return {endpoint_, prefix_, timeout};
  }

  void set(const std::string& key, const std::string& value);
  std::optional<std::string> get(const std::string& key);
  // The value as soon as there is one; none when the time is over.
  std::optional<std::string> wait(const std::string& key, std::chrono::milliseconds timeout);
  int64_t add(const std::string& key, int64_t delta);  // the new value; absent counts as 0
  // Sets the key where it holds `expected` (none: where it is absent). The value it holds afterwards.
  std::string compare_set(const std::string& key, const std::optional<std::string>& expected,
                          const std::string& desired);

  const Endpoint& endpoint() const { return endpoint_; }
  std::string local_address() const {
    return nemo::local_address(socket_);
  }  // of this machine, on the way to the store

 private:
  struct Reply {
    bool positive;
    std::optional<std::string> value;
  };
  Reply ask(const std::string& operation, const std::string& key, const std::vector<std::string>& rest,
            std::chrono::milliseconds patience);

  Endpoint endpoint_;
  std::string prefix_;
  std::mutex mutex_;
  FileDescriptor socket_;
};

}  // namespace nemo
