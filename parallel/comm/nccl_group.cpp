#include "parallel/comm/nccl_group.h"

#include <cstring>
#include <exception>
#include <mutex>

#include "core/device/host_buffer.h"
#include "core/error.h"
#include "kernels/base/cuda_device.h"
#include "kernels/base/error.h"
#include "kernels/comm/call_mark.h"
#include "kernels/comm/nccl.h"
#include "parallel/comm/communicator.h"
#include "parallel/comm/group_identity.h"

namespace nemo {
namespace {

class CudaEvent {
 public:
  explicit CudaEvent(cudaStream_t stream) : handle_(kernels::cuda_event_create()) {
    kernels::cuda_event_record(handle_, stream);
  }
  ~CudaEvent() { kernels::cuda_event_destroy(handle_); }
  CudaEvent(const CudaEvent&) = delete;
  CudaEvent& operator=(const CudaEvent&) = delete;
  cudaEvent_t handle() const { return handle_; }

 private:
  cudaEvent_t handle_;
};

// Holds the tensors until the compute stream is ordered behind the call: then their memory is reused in the usual
// order.
class NcclWork final : public WorkState {
 public:
  NcclWork(std::shared_ptr<Stream> stream, CommCall call)
      : stream_(std::move(stream)), call_(std::move(call)), ended_(stream_->handle()) {}
  ~NcclWork() override {
    if (waited_) return;
    try {
      for (const Tensor* tensor : {&call_.output, &call_.input}) keep(*tensor);
      for (const auto* transfers : {&call_.sends, &call_.receives})
        for (const Transfer& transfer : *transfers) keep(transfer.tensor);
    } catch (const kernels::CudaError&) {
      // The device has failed; whoever waits for its work is told.
    }
  }

  void wait(ExecContext& ctx) override {
    kernels::cuda_stream_wait(ctx.stream(), ended_.handle());
    call_ = {};
    waited_ = true;
  }
  bool done() const override { return kernels::cuda_event_done(ended_.handle()); }

 private:
  void keep(const Tensor& tensor) {
    if (tensor.defined()) tensor.storage()->buffer.also_used_on(*stream_);
  }

  std::shared_ptr<Stream> stream_;
  CommCall call_;
  CudaEvent ended_;
  bool waited_ = false;
};

// Where the group's stream is, as the device itself says in host memory.
class CallMarks final : public CallSource {
 public:
  CallMarks(Device device, const GroupMembers& members, std::shared_ptr<CallLog> log)
      : members_(members), log_(std::move(log)), memory_(device, sizeof(kernels::CallMark)) {
    std::memset(memory_.data(), 0, sizeof(kernels::CallMark));
    log_->add(*this);
  }
  ~CallMarks() { log_->remove(*this); }

  void begin(const CommCall& call, cudaStream_t stream) {
    const std::string text = std::string(name(call.collective)) + " '" + call.label + "'";
    std::lock_guard lock(mutex_);
    const auto [found, added] = numbers_.try_emplace(text, calls_.size());
    if (added) calls_.push_back(text);
    kernels::mark_begin_cuda(mark(), found->second, stream);
  }
  void end(cudaStream_t stream) { kernels::mark_end_cuda(mark(), stream); }

  CallPosition position() const override {
    std::lock_guard lock(mutex_);
    const volatile kernels::CallMark* seen = mark();
    const uint64_t ended = seen->ended, begun = seen->begun, call = seen->call;
    return {.group = members_.name,
            .ranks = members_.ranks,
            .sequence = begun,
            .in_flight = begun > ended,
            .call = call < calls_.size() ? calls_[call] : "",
            .step = log_->step()};
  }

 private:
  kernels::CallMark* mark() const { return static_cast<kernels::CallMark*>(memory_.data()); }

  const GroupMembers& members_;
  std::shared_ptr<CallLog> log_;
  HostBuffer memory_;
  mutable std::mutex mutex_;
  std::map<std::string, uint64_t> numbers_;
  std::vector<std::string> calls_;
};

class NcclGroup final : public Communicator {
 public:
  NcclGroup(GroupMembers members, kernels::NcclCommunicator* nccl, Device device, std::shared_ptr<CallLog> log)
      : Communicator(std::move(members)),
        nccl_(nccl),
        stream_(std::make_shared<Stream>(device)),
        marks_(device, this->members(), std::move(log)),
        token_(kernels::cuda_allocate(sizeof(int32_t))) {}

  ~NcclGroup() override {
    if (std::uncaught_exceptions() > 0) {
      kernels::nccl_abort(nccl_);
    } else {
      try {
        stream_->synchronize();
      } catch (const kernels::CudaError&) {
        // The device has failed; whoever waits for its work is told.
      }
      kernels::nccl_destroy(nccl_);
    }
    kernels::cuda_free(token_);
  }

  Work start(ExecContext& ctx, CommCall call) override {
    try {
      const CudaEvent ready(ctx.stream());
      kernels::cuda_stream_wait(stream_->handle(), ready.handle());
      marks_.begin(call, stream_->handle());
      perform(call);
      marks_.end(stream_->handle());
      return Work(std::make_shared<NcclWork>(stream_, std::move(call)));
    } catch (const kernels::CudaError& error) {
      throw CommError{"group " + members().name, std::string(name(call.collective)) + " '" + call.label + "'",
                      error.what(), "NCCL_DEBUG=WARN in the environment says more"};
    }
  }

 private:
  void perform(const CommCall& call) {
    const cudaStream_t stream = stream_->handle();
    const auto reduction = call.reduction == Reduction::sum ? kernels::NcclReduction::sum : kernels::NcclReduction::max;
    switch (call.collective) {
      case Collective::all_reduce:
        if (call.input.numel() > 0)
          kernels::nccl_all_reduce(nccl_, call.output.raw(), static_cast<size_t>(call.input.numel()),
                                   call.input.dtype(), reduction, stream);
        return;
      case Collective::reduce_scatter:
        if (call.output.numel() > 0)
          kernels::nccl_reduce_scatter(nccl_, call.output.raw(), call.input.raw(),
                                       static_cast<size_t>(call.output.numel()), call.input.dtype(), reduction, stream);
        return;
      case Collective::all_gather:
        if (call.input.numel() > 0)
          kernels::nccl_all_gather(nccl_, call.output.raw(), call.input.raw(), call.input.bytes(), stream);
        return;
      case Collective::broadcast:
        if (call.input.numel() > 0)
          kernels::nccl_broadcast(nccl_, call.output.raw(), call.input.bytes(), call.root, stream);
        return;
      case Collective::barrier:
        return kernels::nccl_all_reduce(nccl_, token_, 1, DType::int32, kernels::NcclReduction::max, stream);
      case Collective::all_to_all:
        return all_to_all(call, stream);
      case Collective::exchange:
        break;
    }
    std::vector<kernels::NcclSend> sends;
    std::vector<kernels::NcclReceive> receives;
    for (const Transfer& send : call.sends) sends.push_back({send.peer, send.tensor.raw(), send.tensor.bytes()});
    for (const Transfer& receive : call.receives)
      receives.push_back({receive.peer, receive.tensor.raw(), receive.tensor.bytes()});
    kernels::nccl_exchange(nccl_, sends, receives, stream);
  }

  void all_to_all(const CommCall& call, cudaStream_t stream) {
    const size_t element = size_bytes(call.input.dtype());
    const char* from = static_cast<const char*>(call.input.raw());
    char* to = static_cast<char*>(call.output.raw());
    std::vector<kernels::NcclSend> sends;
    std::vector<kernels::NcclReceive> receives;
    for (int rank = 0; rank < members().size(); ++rank) {
      const size_t sent = static_cast<size_t>(call.input_counts[static_cast<size_t>(rank)]) * element;
      const size_t received = static_cast<size_t>(call.output_counts[static_cast<size_t>(rank)]) * element;
      if (rank == members().rank) {
        kernels::cuda_copy(to, from, sent, kernels::CopyKind::device_to_device, stream);
      } else {
        sends.push_back({rank, from, sent});
        receives.push_back({rank, to, received});
      }
      from += sent;
      to += received;
    }
    kernels::nccl_exchange(nccl_, sends, receives, stream);
  }

  kernels::NcclCommunicator* nccl_;
  std::shared_ptr<Stream> stream_;
  CallMarks marks_;
  void* token_;  // what a barrier reduces
};

}  // namespace

NcclGroups::NcclGroups(StoreClient& store, int rank, int world_size, Device device, std::chrono::milliseconds deadline,
                       std::shared_ptr<CallLog> log)
    : store_(store), rank_(rank), world_size_(world_size), device_(device), deadline_(deadline), log_(std::move(log)) {}

ProcessGroup NcclGroups::make(const std::string& name, std::vector<int> ranks) {
  GroupMembers members = make_members(name, std::move(ranks), rank_, world_size_);
  const std::string key = "group/" + group_identity(members, num_made_);
  if (members.size() == 1) return {};
  try {
    kernels::cuda_set_device(device_.index);
    // NCCL waits for the others for ever, so all of them are awaited here first.
    if (members.rank == 0) {
      const kernels::NcclId made = kernels::nccl_make_id();
      store_.set(key, std::string(made.bytes.begin(), made.bytes.end()));
    }
    store_.set(key + "/" + std::to_string(rank_), "here");
    for (const int rank : members.ranks)
      if (!store_.wait(key + "/" + std::to_string(rank), deadline_))
        throw CommError{"group " + name, "rank " + std::to_string(rank),
                        "has not come to the making of it within " + std::to_string(deadline_.count() / 1000) + " s"};
    const std::string text = store_.get(key).value_or("");
    kernels::NcclId id{};
    if (text.size() != id.bytes.size())
      throw CommError{"group " + name, "rank " + std::to_string(members.ranks[0]), "has not made its id"};
    std::copy(text.begin(), text.end(), id.bytes.begin());
    kernels::NcclCommunicator* nccl = kernels::nccl_create(id, members.rank, members.size());
    return ProcessGroup(std::make_shared<NcclGroup>(std::move(members), nccl, device_, log_));
  } catch (const kernels::CudaError& error) {
    throw DeviceError{to_string(device_), "NCCL", error.what(),
                      "nemo doctor; NCCL_DEBUG=WARN in the environment says more"};
  }
}

}  // namespace nemo
