#include "parallel/store/store_server.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "parallel/store/store_protocol.h"

namespace nemo {
namespace {

using namespace store_protocol;
using Clock = std::chrono::steady_clock;

struct Connection {
  FileDescriptor socket;
  std::string received = {}, to_send = {};
  bool greeted = false, closed = false;
  std::optional<std::string> awaited = {};  // key
  Clock::time_point wait_until = {};
};

// What one thread keeps while it serves.
class Service {
 public:
  Service(const FileDescriptor& listener, const FileDescriptor& wake, const std::atomic<bool>& closing)
      : listener_(listener), wake_(wake), closing_(closing) {}

  void serve() {
    while (!closing_) {
      std::vector<pollfd> polled{{listener_.get(), POLLIN, 0}, {wake_.get(), POLLIN, 0}};
      for (const auto& connection : connections_)
        polled.push_back(
            {connection->socket.get(), static_cast<short>(connection->to_send.empty() ? POLLIN : POLLIN | POLLOUT), 0});
      if (poll(polled.data(), polled.size(), next_timeout_ms()) < 0 && errno != EINTR) return;
      for (size_t i = 2; i < polled.size(); ++i) {
        Connection& connection = *connections_[i - 2];
        if (polled[i].revents & (POLLIN | POLLHUP | POLLERR)) receive(connection);
        if (polled[i].revents & POLLOUT) flush(connection);
      }
      end_waits();
      std::erase_if(connections_, [](const auto& connection) { return connection->closed; });
      if (polled[0].revents & POLLIN) accept_all();
    }
  }

 private:
  int next_timeout_ms() const {
    int64_t timeout = -1;
    for (const auto& connection : connections_) {
      if (!connection->awaited) continue;
      const int64_t left = std::max<int64_t>(
          0, std::chrono::duration_cast<std::chrono::milliseconds>(connection->wait_until - Clock::now()).count() + 1);
      timeout = timeout < 0 ? left : std::min(timeout, left);
    }
    return static_cast<int>(std::min<int64_t>(timeout, 60000));
  }

  void accept_all() {
    for (;;) {
      FileDescriptor socket(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (socket.get() < 0) return;
      const int on = 1;
      setsockopt(socket.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
      connections_.push_back(std::make_unique<Connection>(Connection{.socket = std::move(socket)}));
    }
  }

  void receive(Connection& connection) {
    char buffer[65536];
    for (;;) {
      const ssize_t count = recv(connection.socket.get(), buffer, sizeof(buffer), 0);
      if (count > 0) {
        connection.received.append(buffer, static_cast<size_t>(count));
        if (static_cast<size_t>(count) == sizeof(buffer)) continue;
      } else if (count == 0 || (errno != EAGAIN && errno != EINTR)) {
        connection.closed = true;
      }
      break;
    }
    understand(connection);
  }

  void understand(Connection& connection) {
    if (!connection.greeted) {
      const size_t length = std::min(connection.received.size(), kGreeting.size());
      if (connection.received.compare(0, length, kGreeting, 0, length) != 0) connection.closed = true;
      if (connection.closed || length < kGreeting.size()) return;
      connection.greeted = true;
      connection.received.erase(0, length);
    }
    while (!connection.closed && !connection.awaited) {
      ReadFrame frame = take_frame(connection.received);
      if (!frame.malformed && !frame.fields) return;
      if (frame.malformed || !answer(connection, *frame.fields)) connection.closed = true;
    }
  }

  void reply(Connection& connection, bool positive, std::optional<std::string> value = std::nullopt) {
    std::vector<std::string> fields{positive ? "+" : "-"};
    if (value) fields.push_back(std::move(*value));
    connection.to_send += make_frame(fields);
    flush(connection);
  }

  void flush(Connection& connection) {
    while (!connection.to_send.empty()) {
      const ssize_t count =
          send(connection.socket.get(), connection.to_send.data(), connection.to_send.size(), MSG_NOSIGNAL);
      if (count < 0) {
        if (errno != EAGAIN && errno != EINTR) connection.closed = true;
        return;
      }
      connection.to_send.erase(0, static_cast<size_t>(count));
    }
  }

  // False: not a request.
  bool answer(Connection& connection, const std::vector<std::string>& request) {
    const size_t count = request.size();
    if (count < 2) return false;
    const std::string &operation = request[0], &key = request[1];
    const auto found = values_.find(key);
    const auto current = found == values_.end() ? std::nullopt : std::optional(found->second);
    if (operation == kGet && count == 2) {
      reply(connection, current.has_value(), current);
    } else if (operation == kSet && count == 3) {
      values_[key] = request[2];
      reply(connection, true);
    } else if (operation == kWait && count == 3) {
      const auto milliseconds = parse_number(request[2]);
      if (!milliseconds) return false;
      connection.awaited = key;
      connection.wait_until =
          Clock::now() + std::chrono::milliseconds(std::clamp<int64_t>(*milliseconds, 0, int64_t{1} << 40));
    } else if (operation == kAdd && count == 3) {
      const auto delta = parse_number(request[2]),
                 before = current ? parse_number(*current) : std::optional<int64_t>(0);
      if (!delta) return false;
      if (before)
        values_[key] =
            std::to_string(static_cast<int64_t>(static_cast<uint64_t>(*before) + static_cast<uint64_t>(*delta)));
      reply(connection, before.has_value(), before ? std::optional(values_[key]) : std::nullopt);
    } else if (operation == kCompareSet && count == 4 && !request[2].empty()) {
      const bool swap = request[2] == "-"
                            ? !current
                            : current && request[2][0] == '+' && *current == std::string_view(request[2]).substr(1);
      if (swap) values_[key] = request[3];
      reply(connection, swap, current);
    } else {
      return false;
    }
    return true;
  }

  // One that ends lets its connection speak on, which may set values that others wait for.
  void end_waits() {
    while (std::any_of(connections_.begin(), connections_.end(),
                       [this](const auto& connection) { return end_wait(*connection); })) {
    }
  }

  bool end_wait(Connection& connection) {
    if (!connection.awaited || connection.closed) return false;
    const auto found = values_.find(*connection.awaited);
    if (found == values_.end() && Clock::now() < connection.wait_until) return false;
    connection.awaited.reset();
    reply(connection, found != values_.end(), found == values_.end() ? std::nullopt : std::optional(found->second));
    understand(connection);
    return true;
  }

  const FileDescriptor &listener_, &wake_;
  const std::atomic<bool>& closing_;
  std::vector<std::unique_ptr<Connection>> connections_;
  std::map<std::string, std::string> values_;
};

}  // namespace

StoreServer::StoreServer(const Endpoint& endpoint)
    : listener_(listen_on(endpoint)), wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), port_(local_port(listener_)) {
  thread_ = std::thread([this] { Service(listener_, wake_, closing_).serve(); });
}

StoreServer::~StoreServer() {
  closing_ = true;
  eventfd_write(wake_.get(), 1);
  thread_.join();
}

}  // namespace nemo
