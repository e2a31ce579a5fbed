#include "parallel/comm/thread_group.h"

#include <algorithm>
#include <cstring>

#include "parallel/comm/group_identity.h"
#include "parallel/comm/host_communicator.h"

namespace nemo {

struct ThreadHub::Post {
  const void* data;
  size_t bytes;
  std::string_view call;
  bool taken = false;
};

void ThreadHub::fail(int rank, const std::string& reason) noexcept {
  {
    std::lock_guard lock(mutex_);
    if (failed_rank_) return;
    failed_rank_ = rank;
    failure_ = reason;
  }
  changed_.notify_all();
}

std::optional<int> ThreadHub::failed_rank() const {
  std::lock_guard lock(mutex_);
  return failed_rank_;
}

class ThreadTransport final : public HostTransport {
 public:
  ThreadTransport(ThreadHub& hub, const GroupMembers& members, std::string identity)
      : hub_(hub), members_(members), identity_(std::move(identity)) {}

  void exchange(std::span<const OutgoingBytes> outgoing, std::span<const IncomingBytes> incoming,
                std::string_view call) override {
    std::unique_lock lock(hub_.mutex_);
    const auto deadline = std::chrono::steady_clock::now() + hub_.deadline_;
    std::vector<ThreadHub::Post> posts;
    posts.reserve(outgoing.size());  // lanes point at them
    for (const OutgoingBytes& out : outgoing) {
      if (out.bytes == 0) continue;
      posts.push_back({out.data, out.bytes, call});
      hub_.lanes_[{identity_, members_.rank, out.peer}].push_back(&posts.back());
    }
    hub_.changed_.notify_all();
    try {
      for (const IncomingBytes& in : incoming) take(lock, in, call, deadline);
      wait_taken(lock, outgoing, posts, deadline);
    } catch (...) {
      for (const OutgoingBytes& out : outgoing)
        std::erase_if(hub_.lanes_[{identity_, members_.rank, out.peer}], [&](ThreadHub::Post* post) {
          return post >= posts.data() && post < posts.data() + posts.size();
        });
      throw;
    }
  }

  void abandon() noexcept override {
    hub_.fail(members_.ranks[static_cast<size_t>(members_.rank)], "left group " + members_.name + " by an error");
  }

 private:
  using Deadline = std::chrono::steady_clock::time_point;

  template <class Ready>
  void wait(std::unique_lock<std::mutex>& lock, int peer, Deadline deadline, const Ready& ready) {
    const bool in_time = hub_.changed_.wait_until(lock, deadline, [&] { return ready() || hub_.failed_rank_; });
    if (ready()) return;
    if (!in_time)
      throw TransportFailure(peer,
                             "has not come to this call within " + std::to_string(hub_.deadline_.count()) + " ms");
    const auto member = std::find(members_.ranks.begin(), members_.ranks.end(), *hub_.failed_rank_);
    if (member != members_.ranks.end())
      throw TransportFailure(static_cast<int>(member - members_.ranks.begin()), hub_.failure_);
    throw TransportFailure(-1, "rank " + std::to_string(*hub_.failed_rank_) + " " + hub_.failure_);
  }

  void take(std::unique_lock<std::mutex>& lock, const IncomingBytes& in, std::string_view call, Deadline deadline) {
    if (in.bytes == 0) return;
    std::deque<ThreadHub::Post*>& lane = hub_.lanes_[{identity_, in.peer, members_.rank}];
    wait(lock, in.peer, deadline, [&] { return !lane.empty(); });
    ThreadHub::Post* post = lane.front();
    if (post->call != call) throw TransportFailure(in.peer, "is in " + std::string(post->call) + " here");
    if (post->bytes != in.bytes)
      throw TransportFailure(in.peer, "sends " + std::to_string(post->bytes) + " bytes where " +
                                          std::to_string(in.bytes) + " are expected");
    lane.pop_front();
    std::memcpy(in.data, post->data, in.bytes);
    post->taken = true;
    hub_.changed_.notify_all();
  }

  void wait_taken(std::unique_lock<std::mutex>& lock, std::span<const OutgoingBytes> outgoing,
                  const std::vector<ThreadHub::Post>& posts, Deadline deadline) {
    size_t next = 0;
    for (const OutgoingBytes& out : outgoing) {
      if (out.bytes == 0) continue;
      const ThreadHub::Post& post = posts[next++];
      wait(lock, out.peer, deadline, [&] { return post.taken; });
    }
  }

  ThreadHub& hub_;
  const GroupMembers members_;
  const std::string identity_;
};

ProcessGroup ThreadGroups::make(const std::string& name, std::vector<int> ranks) {
  GroupMembers members = make_members(name, std::move(ranks), rank_, world_size());
  const std::string identity = group_identity(members, num_made_);
  if (members.size() == 1) return {};
  auto transport = std::make_unique<ThreadTransport>(hub_, members, identity);
  return ProcessGroup(std::make_shared<HostCommunicator>(std::move(members), std::move(transport), log_));
}

}  // namespace nemo
