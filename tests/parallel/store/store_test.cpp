#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <random>
#include <thread>
#include <vector>

#include "core/error.h"
#include "parallel/store/store_client.h"
#include "parallel/store/store_protocol.h"
#include "parallel/store/store_server.h"

using Catch::Matchers::Contains;
using namespace nemo;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

Endpoint local(uint16_t port) {
  return {"127.0.0.1", port};
}
StoreClient client_of(const StoreServer& server, const std::string& prefix = "") {
  return {local(server.port()), prefix, seconds(5)};
}

}  // namespace

TEST_CASE("the store sets, gets, adds and compares", "[store]") {
  const StoreServer server(local(0));
  StoreClient client = client_of(server), other = client_of(server);
  CHECK_FALSE(client.get("a").has_value());
  client.set("a", std::string("x\0y", 3));
  CHECK(other.get("a") == std::string("x\0y", 3));
  client.set("empty", "");
  CHECK(other.get("empty") == "");
  CHECK(client.add("n", 5) == 5);
  CHECK(other.add("n", -7) == -2);
  CHECK(other.get("n") == "-2");
  CHECK_THROWS_WITH(client.add("a", 1), "store: a: does not hold a number");
  CHECK(client.compare_set("c", std::nullopt, "first") == "first");
  CHECK(other.compare_set("c", std::nullopt, "second") == "first");
  CHECK(other.compare_set("c", "other", "second") == "first");
  CHECK(other.compare_set("c", "first", "second") == "second");
  const std::string large(3 << 20, 'z');
  client.set("large", large);
  CHECK(other.get("large") == large);
}

TEST_CASE("prefixes keep attempts apart", "[store]") {
  const StoreServer server(local(0));
  StoreClient first = client_of(server, "0/"), second = client_of(server, "1/");
  first.set("a", "old");
  CHECK_FALSE(second.get("a").has_value());
}

TEST_CASE("waiting ends with the value or with the time", "[store]") {
  const StoreServer server(local(0));
  StoreClient client = client_of(server);
  CHECK_FALSE(client.wait("late", milliseconds(30)).has_value());
  std::vector<std::thread> threads;
  std::atomic<int> woken = 0;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&] {
      StoreClient waiting = client.another();
      if (waiting.wait("late", seconds(20)) == "now") ++woken;
    });
  std::this_thread::sleep_for(milliseconds(50));
  client.set("late", "now");
  for (std::thread& thread : threads) thread.join();
  CHECK(woken == 8);
  CHECK(client.wait("late", milliseconds(0)) == "now");
}

TEST_CASE("a counter loses no addition", "[store]") {
  const StoreServer server(local(0));
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&] {
      StoreClient client = client_of(server);
      for (int n = 0; n < 200; ++n) client.add("n", 1);
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(client_of(server).get("n") == "1600");
}

TEST_CASE("the store outlives garbage, half sentences and sudden ends", "[store]") {
  const StoreServer server(local(0));
  StoreClient client = client_of(server);
  client.set("a", "kept");
  std::mt19937 random(7);
  std::vector<FileDescriptor> half_open;
  for (int i = 0; i < 60; ++i) {
    FileDescriptor socket = connect_to(local(server.port()), seconds(5));
    std::string bytes;
    if (i % 3 != 0) bytes = store_protocol::kGreeting;
    if (i % 6 == 1) bytes += std::string("\xff\xff\xff\xff", 4);           // a frame of 4 GiB
    if (i % 6 == 2) bytes += std::string("\x08\0\0\0\x10\0\0\0abcd", 12);  // a field longer than its frame
    if (i % 6 == 4) bytes += store_protocol::make_frame(std::vector<std::string>{"wait", "a"});  // too few fields
    if (i % 6 == 5) bytes += store_protocol::make_frame(std::vector<std::string>{"set", "b", "c"}).substr(0, 9);
    for (int n = 0; i % 3 == 0 && n < 1000; ++n) bytes.push_back(static_cast<char>(random()));
    CHECK(send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) >= 0);
    if (i % 2 == 0) half_open.push_back(std::move(socket));
  }
  CHECK(client.get("a") == "kept");
  CHECK_FALSE(client.get("b").has_value());
}

TEST_CASE("a store that ends, or never was, is an error that says where", "[store]") {
  auto server = std::make_unique<StoreServer>(local(0));
  const uint16_t port = server->port();
  CHECK_THROWS_WITH(StoreServer(local(port)), Contains("127.0.0.1:" + std::to_string(port) + ": the port is in use"));
  StoreClient client = client_of(*server);
  server.reset();
  CHECK_THROWS_WITH(client.get("a"), Contains("store: 127.0.0.1:" + std::to_string(port) + ": is gone"));
  CHECK_THROWS_WITH(StoreClient(local(port), "", milliseconds(200)),
                    Contains("cannot be reached in 0 s (Connection refused)"));
  CHECK_THROWS_WITH(StoreClient({"no-such-host.invalid", 1}, "", milliseconds(200)),
                    Contains("no-such-host.invalid:1"));
  CHECK_THROWS_WITH(StoreServer({"192.0.2.1", 0}), Contains("an address of this machine"));
}

TEST_CASE("somebody else's server is not taken for a store", "[store]") {
  FileDescriptor listener = listen_on(local(0));
  StoreClient client(local(local_port(listener)), "", seconds(5));
  std::thread answer([&] {
    FileDescriptor socket;
    while (socket.get() < 0) socket = FileDescriptor(accept(listener.get(), nullptr, nullptr));
    const std::string text = "HTTP/1.1 400 Bad Request\r\n\r\n";
    CHECK(write(socket.get(), text.data(), text.size()) > 0);
    std::this_thread::sleep_for(milliseconds(200));
  });
  CHECK_THROWS_WITH(client.get("a"), Contains("is not a store of nemo"));
  answer.join();
}
