#include "parallel/comm/host_communicator.h"

#include <algorithm>
#include <cstring>
#include <exception>

#include "core/error.h"
#include "parallel/comm/rank_order_reduction.h"

namespace nemo {

struct HostCommunicator::Task {
  CommCall call;
  int64_t step;
  std::mutex mutex;
  std::condition_variable ended;
  bool done = false;
  std::exception_ptr error;
};

class HostCommunicator::TaskWork final : public WorkState {
 public:
  explicit TaskWork(std::shared_ptr<Task> task) : task_(std::move(task)) {}

  void wait(ExecContext&) override {
    std::unique_lock lock(task_->mutex);
    task_->ended.wait(lock, [this] { return task_->done; });
    if (task_->error) std::rethrow_exception(task_->error);
  }
  bool done() const override {
    std::lock_guard lock(task_->mutex);
    return task_->done;
  }

 private:
  std::shared_ptr<Task> task_;
};

namespace {

std::string describe(const CommCall& call) {
  return std::string(name(call.collective)) + " '" + call.label + "'";
}

char* bytes_of(const Tensor& tensor) {
  return static_cast<char*>(tensor.raw());
}

// Element where part `index` of `count` in `parts` nearly equal ones begins.
int64_t part_start(int64_t count, int index, int parts) {
  return count * index / parts;
}

}  // namespace

HostCommunicator::HostCommunicator(GroupMembers members, std::unique_ptr<HostTransport> transport,
                                   std::shared_ptr<CallLog> log)
    : Communicator(std::move(members)), transport_(std::move(transport)), log_(std::move(log)) {
  position_.group = this->members().name;
  position_.ranks = this->members().ranks;
  log_->add(*this);
  worker_ = std::thread([this] { run_tasks(); });
}

HostCommunicator::~HostCommunicator() {
  bool busy;
  {
    std::lock_guard lock(mutex_);
    closing_ = true;
    busy = position_.in_flight || !queue_.empty();
  }
  wake_.notify_all();
  if (busy && std::uncaught_exceptions() > 0) transport_->abandon();
  worker_.join();
  log_->remove(*this);
}

Work HostCommunicator::start(ExecContext&, CommCall call) {
  auto task = std::make_shared<Task>();
  task->call = std::move(call);
  task->step = log_->step();
  {
    std::lock_guard lock(mutex_);
    queue_.push_back(task);
  }
  wake_.notify_all();
  return Work(std::make_shared<TaskWork>(std::move(task)));
}

CallPosition HostCommunicator::position() const {
  std::lock_guard lock(mutex_);
  return position_;
}

void HostCommunicator::run_tasks() {
  for (;;) {
    std::shared_ptr<Task> task;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return closing_ || !queue_.empty(); });
      if (queue_.empty()) return;
      task = std::move(queue_.front());
      queue_.pop_front();
      ++position_.sequence;
      position_.in_flight = true;
      position_.call = describe(task->call);
      position_.step = task->step;
    }
    run(*task);
    {
      std::lock_guard lock(mutex_);
      position_.in_flight = !failure_.empty();  // a call that failed has not ended
    }
    {
      std::lock_guard lock(task->mutex);
      task->call = {};  // before anyone learns that it is done: whoever waits may then free what the tensors live in
      task->done = true;
    }
    task->ended.notify_all();
  }
}

void HostCommunicator::run(Task& task) {
  const std::string place = "group " + members().name;
  const std::string subject = describe(task.call) + " (call " + std::to_string(position_.sequence) + ", step " +
                              std::to_string(task.step) + ")";
  try {
    if (!failure_.empty()) throw CommError{place, subject, "not begun, since an earlier call failed: " + failure_};
    perform(task.call);
    return;
  } catch (const TransportFailure& failure) {
    const std::string peer =
        failure.peer < 0 ? "" : "rank " + std::to_string(members().ranks[static_cast<size_t>(failure.peer)]) + " ";
    const CommError error{place, subject, peer + failure.what()};
    task.error = std::make_exception_ptr(error);
    std::lock_guard lock(mutex_);
    failure_ = describe(task.call) + ": " + peer + failure.what();
  } catch (...) {  // out of memory, or not begun
    task.error = std::current_exception();
  }
}

void HostCommunicator::perform(const CommCall& call) {
  // A send and its receive may have labels of their own.
  call_name_ = call.collective == Collective::exchange ? std::string(name(call.collective)) : describe(call);
  switch (call.collective) {
    case Collective::all_reduce:
      return all_reduce(call);
    case Collective::reduce_scatter:
      return reduce_scatter(call);
    case Collective::all_to_all:
      return all_to_all(call);
    case Collective::broadcast:
      return broadcast(call);
    case Collective::barrier:
      return barrier();
    case Collective::exchange:
      return exchange(call);
    case Collective::all_gather:
      break;
  }
  std::memmove(bytes_of(call.output) + static_cast<size_t>(members().rank) * call.input.bytes(), bytes_of(call.input),
               call.input.bytes());
  std::vector<size_t> starts;
  for (int rank = 0; rank <= members().size(); ++rank) starts.push_back(static_cast<size_t>(rank) * call.input.bytes());
  gather_parts(bytes_of(call.output), starts);
}

// Everybody's elements [first, first + count) of mine come together here; part r of my input goes to rank r.
void HostCommunicator::reduce_own_part(const CommCall& call, void* output, int64_t first, int64_t count) {
  const int size = members().size();
  const size_t element = size_bytes(call.input.dtype()), part_bytes = static_cast<size_t>(count) * element;
  parts_.resize(std::max(parts_.size(), part_bytes * static_cast<size_t>(size)));
  std::vector<OutgoingBytes> outgoing;
  std::vector<IncomingBytes> incoming;
  std::vector<const void*> inputs;
  for (int rank = 0; rank < size; ++rank) {
    if (rank == members().rank) {
      inputs.push_back(bytes_of(call.input) + static_cast<size_t>(first) * element);
      continue;
    }
    const int64_t start = part_start(call.input.numel(), rank, size),
                  end = part_start(call.input.numel(), rank + 1, size);
    outgoing.push_back({rank, bytes_of(call.input) + static_cast<size_t>(start) * element,
                        static_cast<size_t>(end - start) * element});
    incoming.push_back({rank, parts_.data() + static_cast<size_t>(rank) * part_bytes, part_bytes});
    inputs.push_back(incoming.back().data);
  }
  transport_->exchange(outgoing, incoming, call_name_);
  reduce_in_rank_order(output, inputs, count, call.input.dtype(), call.reduction);
}

// output holds my part [starts[rank], starts[rank + 1]) already; brings the others.
void HostCommunicator::gather_parts(char* output, const std::vector<size_t>& starts) {
  std::vector<OutgoingBytes> outgoing;
  std::vector<IncomingBytes> incoming;
  const size_t me = static_cast<size_t>(members().rank);
  for (size_t rank = 0; rank + 1 < starts.size(); ++rank) {
    if (rank == me) continue;
    outgoing.push_back({static_cast<int>(rank), output + starts[me], starts[me + 1] - starts[me]});
    incoming.push_back({static_cast<int>(rank), output + starts[rank], starts[rank + 1] - starts[rank]});
  }
  transport_->exchange(outgoing, incoming, call_name_);
}

void HostCommunicator::all_reduce(const CommCall& call) {
  const int size = members().size();
  const int64_t first = part_start(call.input.numel(), members().rank, size),
                end = part_start(call.input.numel(), members().rank + 1, size);
  const size_t element = size_bytes(call.input.dtype());
  reduce_own_part(call, bytes_of(call.output) + static_cast<size_t>(first) * element, first, end - first);
  std::vector<size_t> starts;
  for (int rank = 0; rank <= size; ++rank)
    starts.push_back(static_cast<size_t>(part_start(call.input.numel(), rank, size)) * element);
  gather_parts(bytes_of(call.output), starts);
}

void HostCommunicator::reduce_scatter(const CommCall& call) {
  const int64_t count = call.output.numel();
  reduce_own_part(call, call.output.raw(), count * members().rank, count);
}

void HostCommunicator::all_to_all(const CommCall& call) {
  const size_t element = size_bytes(call.input.dtype());
  std::vector<OutgoingBytes> outgoing;
  std::vector<IncomingBytes> incoming;
  char *from = bytes_of(call.input), *to = bytes_of(call.output);
  for (int rank = 0; rank < members().size(); ++rank) {
    const size_t sent = static_cast<size_t>(call.input_counts[static_cast<size_t>(rank)]) * element;
    const size_t received = static_cast<size_t>(call.output_counts[static_cast<size_t>(rank)]) * element;
    if (rank == members().rank) {
      if (sent > 0) std::memcpy(to, from, sent);
    } else {
      outgoing.push_back({rank, from, sent});
      incoming.push_back({rank, to, received});
    }
    from += sent;
    to += received;
  }
  transport_->exchange(outgoing, incoming, call_name_);
}

void HostCommunicator::broadcast(const CommCall& call) {
  std::vector<OutgoingBytes> outgoing;
  std::vector<IncomingBytes> incoming;
  if (members().rank != call.root) {
    incoming.push_back({call.root, call.output.raw(), call.output.bytes()});
  } else {
    for (int rank = 0; rank < members().size(); ++rank)
      if (rank != call.root) outgoing.push_back({rank, call.input.raw(), call.input.bytes()});
  }
  transport_->exchange(outgoing, incoming, call_name_);
}

void HostCommunicator::barrier() {
  const char mine = 0;
  std::vector<char> theirs(static_cast<size_t>(members().size()));
  std::vector<OutgoingBytes> outgoing;
  std::vector<IncomingBytes> incoming;
  for (int rank = 0; rank < members().size(); ++rank) {
    if (rank == members().rank) continue;
    outgoing.push_back({rank, &mine, 1});
    incoming.push_back({rank, &theirs[static_cast<size_t>(rank)], 1});
  }
  transport_->exchange(outgoing, incoming, call_name_);
}

void HostCommunicator::exchange(const CommCall& call) {
  std::vector<OutgoingBytes> outgoing;
  std::vector<IncomingBytes> incoming;
  for (const Transfer& send : call.sends) outgoing.push_back({send.peer, send.tensor.raw(), send.tensor.bytes()});
  for (const Transfer& receive : call.receives)
    incoming.push_back({receive.peer, receive.tensor.raw(), receive.tensor.bytes()});
  transport_->exchange(outgoing, incoming, call_name_);
}

}  // namespace nemo
