#include "parallel/store/store_client.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/error.h"
#include "parallel/store/store_protocol.h"

namespace nemo {
namespace {

using namespace store_protocol;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kPatience{20};  // for an answer that needs no waiting

[[noreturn]] void fail(const Endpoint& endpoint, const std::string& reason) {
  throw CommError{"store", to_string(endpoint), reason, "the log of the process that started the ranks, or of rank 0"};
}

void await(int socket, short events, Clock::time_point deadline, const Endpoint& endpoint) {
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left < 0) fail(endpoint, "does not answer");
    pollfd polled{socket, events, 0};
    const int count = poll(&polled, 1, static_cast<int>(std::min<int64_t>(left + 1, 60000)));
    if (count > 0) return;
    if (count < 0 && errno != EINTR) fail(endpoint, std::strerror(errno));
  }
}

void send_all(int socket, std::string_view bytes, Clock::time_point deadline, const Endpoint& endpoint) {
  while (!bytes.empty()) {
    const ssize_t count = send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count > 0) {
      bytes.remove_prefix(static_cast<size_t>(count));
    } else if (errno == EAGAIN) {
      await(socket, POLLOUT, deadline, endpoint);
    } else if (errno != EINTR) {
      fail(endpoint, "is gone (" + std::string(std::strerror(errno)) + ")");
    }
  }
}

std::vector<std::string> receive_frame(int socket, Clock::time_point deadline, const Endpoint& endpoint) {
  std::string received;
  char buffer[16384];
  for (;;) {
    const ssize_t count = recv(socket, buffer, sizeof(buffer), 0);
    if (count > 0) {
      received.append(buffer, static_cast<size_t>(count));
      ReadFrame frame = take_frame(received);
      if (frame.malformed) fail(endpoint, "is not a store of nemo: its answers make no sense");
      if (frame.fields) return std::move(*frame.fields);
    } else if (count == 0) {
      fail(endpoint, "is gone (it closed the connection)");
    } else if (errno == EAGAIN) {
      await(socket, POLLIN, deadline, endpoint);
    } else if (errno != EINTR) {
      fail(endpoint, "is gone (" + std::string(std::strerror(errno)) + ")");
    }
  }
}

}  // namespace

StoreClient::StoreClient(Endpoint endpoint, std::string prefix, std::chrono::milliseconds timeout)
    : endpoint_(std::move(endpoint)), prefix_(std::move(prefix)), socket_(connect_to(endpoint_, timeout)) {
  send_all(socket_.get(), kGreeting, Clock::now() + kPatience, endpoint_);
}

StoreClient::Reply StoreClient::ask(const std::string& operation, const std::string& key,
                                    const std::vector<std::string>& rest, std::chrono::milliseconds patience) {
  std::vector<std::string> request{operation, prefix_ + key};
  request.insert(request.end(), rest.begin(), rest.end());
  std::lock_guard lock(mutex_);
  const Clock::time_point deadline = Clock::now() + patience;
  send_all(socket_.get(), make_frame(request), deadline, endpoint_);
  std::vector<std::string> reply = receive_frame(socket_.get(), deadline, endpoint_);
  if (reply.empty() || reply.size() > 2 || (reply[0] != "+" && reply[0] != "-"))
    fail(endpoint_, "is not a store of nemo: its answers make no sense");
  return {.positive = reply[0] == "+", .value = reply.size() == 2 ? std::optional(std::move(reply[1])) : std::nullopt};
}

void StoreClient::set(const std::string& key, const std::string& value) {
  ask(std::string(kSet), key, {value}, kPatience);
}

std::optional<std::string> StoreClient::get(const std::string& key) {
  return ask(std::string(kGet), key, {}, kPatience).value;
}

std::optional<std::string> StoreClient::wait(const std::string& key, std::chrono::milliseconds timeout) {
  return ask(std::string(kWait), key, {std::to_string(timeout.count())}, timeout + kPatience).value;
}

int64_t StoreClient::add(const std::string& key, int64_t delta) {
  const Reply reply = ask(std::string(kAdd), key, {std::to_string(delta)}, kPatience);
  if (!reply.positive) throw CommError{"store", key, "does not hold a number"};
  return parse_number(reply.value.value_or("")).value_or(0);
}

std::string StoreClient::compare_set(const std::string& key, const std::optional<std::string>& expected,
                                     const std::string& desired) {
  const Reply reply = ask(std::string(kCompareSet), key, {expected ? "+" + *expected : "-", desired}, kPatience);
  return reply.positive ? desired : reply.value.value_or("");
}

}  // namespace nemo
