#include "parallel/comm/gloo_group.h"

#include <gloo/common/error.h>
#include <gloo/rendezvous/context.h>
#include <gloo/rendezvous/store.h>
#include <gloo/transport/tcp/device.h>
#include <gloo/transport/unbound_buffer.h>

#include <algorithm>
#include <csignal>
#include <mutex>

#include "core/error.h"
#include "parallel/comm/group_identity.h"
#include "parallel/comm/host_communicator.h"

namespace nemo {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

// What Gloo writes and reads while ranks find each other: a value of each rank under its number.
class RendezvousKeys final : public gloo::rendezvous::Store {
 public:
  RendezvousKeys(StoreClient& store, milliseconds deadline) : store_(store), deadline_(deadline) {}

  void set(const std::string& key, const std::vector<char>& data) override {
    store_.set("gloo/" + key, {data.begin(), data.end()});
  }
  std::vector<char> get(const std::string& key) override {
    const auto value = store_.wait("gloo/" + key, deadline_);
    if (!value)
      throw CommError{"rendezvous", "rank " + key,
                      "has not come within " + std::to_string(deadline_.count() / 1000) + " s",
                      "start every rank; look at its log"};
    return {value->begin(), value->end()};
  }
  void wait(const std::vector<std::string>& keys) override { wait(keys, deadline_); }
  void wait(const std::vector<std::string>& keys, const milliseconds&) override {
    for (const std::string& key : keys) get(key);
  }

 private:
  StoreClient& store_;
  milliseconds deadline_;
};

// Gloo's text, which names a file of its own and an address, as what it means for a person.
std::string explain(const std::string& text, milliseconds deadline) {
  const auto says = [&](const char* words) { return text.find(words) != std::string::npos; };
  if (says("Timed out") || says("timeout"))
    return "has not come to this call within " + std::to_string(deadline.count()) + " ms";
  if (says("closed by peer") || says("reset by peer") || says("Broken pipe"))
    return "is gone: it closed the connection";
  return text;
}

}  // namespace

class GlooWorld {
 public:
  GlooWorld(StoreClient& store, int rank, int world_size, milliseconds deadline) : context_(rank, world_size) {
    // Gloo writes to sockets without MSG_NOSIGNAL: a peer that has gone would end this process instead of failing the call.
    std::signal(SIGPIPE, SIG_IGN);
    gloo::transport::tcp::attr attributes;
    attributes.hostname = store.local_address();
    auto device = gloo::transport::tcp::CreateDevice(attributes);
    context_.setTimeout(deadline);
    RendezvousKeys keys(store, deadline);
    try {
      context_.connectFullMesh(keys, device);
    } catch (const gloo::Exception& error) {
      throw CommError{"rendezvous", "rank " + std::to_string(rank),
                      std::string("cannot connect to the other ranks: ") + error.what()};
    }
  }

  std::unique_ptr<gloo::transport::UnboundBuffer> buffer(void* data, size_t bytes) {
    return context_.createUnboundBuffer(data, bytes);
  }

 private:
  gloo::rendezvous::Context context_;
};

namespace {

class GlooTransport final : public HostTransport {
 public:
  // number: tells this group's messages from those of others.
  GlooTransport(std::shared_ptr<GlooWorld> world, const GroupMembers& members, uint64_t number, milliseconds deadline)
      : world_(std::move(world)), members_(members), number_(number), deadline_(deadline) {}

  void exchange(std::span<const OutgoingBytes> outgoing, std::span<const IncomingBytes> incoming,
                std::string_view call) override {
    Pending pending(*this, call);
    const Clock::time_point deadline = Clock::now() + deadline_;
    for (const IncomingBytes& in : incoming)
      if (in.bytes > 0) pending.start(in.peer, in.data, in.bytes, true);
    for (const OutgoingBytes& out : outgoing)
      if (out.bytes > 0) pending.start(out.peer, const_cast<void*>(out.data), out.bytes, false);
    pending.wait(deadline);
  }

  void abandon() noexcept override {
    std::lock_guard lock(mutex_);
    abandoned_ = true;
    if (pending_ != nullptr) pending_->abort();
  }

 private:
  // The buffers of one exchange.
  class Pending {
    struct Message {
      int peer;
      bool receive;
      std::unique_ptr<gloo::transport::UnboundBuffer> buffer;
    };

    template <class Action>
    auto guarded(int peer, const Action& action) {
      try {
        return action();
      } catch (const gloo::Exception& error) {
        throw TransportFailure(peer, explain(error.what(), transport_.deadline_));
      }
    }

   public:
    Pending(GlooTransport& transport, std::string_view call) : transport_(transport), call_(call) {
      std::lock_guard lock(transport_.mutex_);
      if (transport_.abandoned_) throw TransportFailure(-1, "the group is being given up");
      transport_.pending_ = this;
    }
    ~Pending() {
      std::lock_guard lock(transport_.mutex_);
      transport_.pending_ = nullptr;
    }

    void start(int peer, void* data, size_t bytes, bool receive) {
      const int rank = transport_.members_.ranks[static_cast<size_t>(peer)];
      Message message{peer, receive, transport_.world_->buffer(data, bytes)};
      const uint64_t slot = slot_of(bytes);
      guarded(peer, [&] {
        if (receive)
          message.buffer->recv(rank, slot);
        else
          message.buffer->send(rank, slot);
      });
      std::lock_guard lock(transport_.mutex_);
      messages_.push_back(std::move(message));
    }

    void wait(Clock::time_point deadline) {
      for (const Message& message : messages_) {
        const auto left = std::max(milliseconds(1), std::chrono::duration_cast<milliseconds>(deadline - Clock::now()));
        const bool arrived = guarded(message.peer, [&] {
          return message.receive ? message.buffer->waitRecv(left) : message.buffer->waitSend(left);
        });
        if (!arrived) throw TransportFailure(-1, "the group is being given up");
      }
    }

    void abort() noexcept {  // under the transport's lock
      for (const Message& message : messages_) {
        if (message.receive)
          message.buffer->abortWaitRecv();
        else
          message.buffer->abortWaitSend();
      }
    }

   private:
    // Gloo takes any message of the same slot, of whatever size. Two ends that disagree about the call or the size have
    // different slots: they wait for the deadline and do not get wrong data.
    uint64_t slot_of(size_t bytes) const {
      uint64_t hash = 0xCBF29CE484222325ull;
      for (const char c : call_) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ull;
      hash = (hash ^ bytes) * 0x9E3779B97F4A7C15ull;
      return transport_.number_ << 40 | hash >> 24;
    }

    GlooTransport& transport_;
    const std::string_view call_;
    std::vector<Message> messages_;
  };

  std::shared_ptr<GlooWorld> world_;
  const GroupMembers members_;
  const uint64_t number_;
  const milliseconds deadline_;
  std::mutex mutex_;
  Pending* pending_ = nullptr;
  bool abandoned_ = false;
};

}  // namespace

GlooGroups::GlooGroups(StoreClient& store, int rank, int world_size, milliseconds deadline,
                       std::shared_ptr<CallLog> log)
    : store_(store),
      rank_(rank),
      world_size_(world_size),
      deadline_(deadline),
      log_(std::move(log)),
      world_(std::make_shared<GlooWorld>(store, rank, world_size, deadline)) {}

GlooGroups::~GlooGroups() = default;

ProcessGroup GlooGroups::make(const std::string& name, std::vector<int> ranks) {
  GroupMembers members = make_members(name, std::move(ranks), rank_, world_size_);
  const std::string key = "group/" + group_identity(members, num_made_);
  if (members.size() == 1) return {};
  if (members.rank == 0) store_.set(key, std::to_string(store_.add("num_groups", 1)));
  const auto slot = store_.wait(key, deadline_);
  if (!slot)
    throw CommError{"group " + name, "rank " + std::to_string(members.ranks[0]),
                    "has not made this group within " + std::to_string(deadline_.count() / 1000) + " s"};
  auto transport = std::make_unique<GlooTransport>(world_, members, std::stoull(*slot), deadline_);
  return ProcessGroup(std::make_shared<HostCommunicator>(std::move(members), std::move(transport), log_));
}

}  // namespace nemo
