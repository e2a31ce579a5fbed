#include "parallel/comm/process_group.h"

#include <numeric>

#include "core/error.h"
#include "core/ops/copy.h"
#include "parallel/comm/communicator.h"

namespace nemo {
namespace {

const GroupMembers& self() {
  static const GroupMembers kSelf{"self", {0}, 0};
  return kSelf;
}

std::string describe(Collective collective, std::string_view label) {
  return std::string(name(collective)) + " '" + std::string(label) + "'";
}

void expect(bool holds, const CommCall& call, const std::string& what, const std::string& reason) {
  if (!holds) throw ShapeError{describe(call.collective, call.label), what, reason};
}

void expect_usable(const ExecContext& ctx, const CommCall& call, const char* what, const Tensor& tensor) {
  expect(tensor.defined(), call, what, "is undefined");
  expect(tensor.is_contiguous(), call, what, "is not contiguous");
  expect(tensor.device() == ctx.device(), call, what,
         "is on " + to_string(tensor.device()) + ", the context on " + to_string(ctx.device()));
}

void expect_reducible(const CommCall& call) {
  const DType dtype = call.input.dtype();
  const bool known = dtype == DType::fp32 || dtype == DType::bf16 || dtype == DType::fp64 || dtype == DType::int32 ||
                     dtype == DType::int64 || dtype == DType::uint8;
  expect(known, call, std::string(name(dtype)), "cannot be reduced");
}

// Within one rank: what arrives is what was sent.
void copy_to_self(ExecContext& ctx, const Tensor& to, const Tensor& from) {
  if (to.raw() != from.raw()) copy(ctx, to.view({to.numel()}), from.view({from.numel()}));
}

std::vector<int64_t> elements(std::span<const int64_t> rows, const Tensor& tensor) {
  const int64_t row =
      std::accumulate(tensor.shape().dims().begin() + 1, tensor.shape().dims().end(), int64_t{1}, std::multiplies<>());
  std::vector<int64_t> counts(rows.begin(), rows.end());
  for (int64_t& count : counts) count *= row;
  return counts;
}

void expect_rows(const CommCall& call, const char* what, const Tensor& tensor, std::span<const int64_t> rows,
                 int size) {
  expect(tensor.rank() >= 1, call, what, "has no rows");
  expect(static_cast<int>(rows.size()) == size, call, what,
         "is split in " + std::to_string(rows.size()) + " parts for " + std::to_string(size) + " ranks");
  for (const int64_t count : rows) expect(count >= 0, call, what, "has a part of " + std::to_string(count) + " rows");
  const int64_t sum = std::accumulate(rows.begin(), rows.end(), int64_t{0});
  expect(sum == tensor.dim(0), call, what,
         "has " + std::to_string(tensor.dim(0)) + " rows, its parts " + std::to_string(sum));
}

}  // namespace

std::string_view name(Collective collective) {
  constexpr std::string_view kNames[] = {"all_reduce", "reduce_scatter", "all_gather", "all_to_all",
                                         "broadcast",  "exchange",       "barrier"};
  return kNames[static_cast<int>(collective)];
}

size_t sent_bytes(const CommCall& call, int rank, int size) {
  const size_t others = static_cast<size_t>(size) - 1, parts = static_cast<size_t>(size);
  switch (call.collective) {
    case Collective::all_reduce:
      return 2 * call.input.bytes() * others / parts;
    case Collective::reduce_scatter:
      return call.input.bytes() * others / parts;
    case Collective::all_gather:
      return call.input.bytes() * others;
    case Collective::broadcast:
      return rank == call.root ? call.input.bytes() * others : 0;
    case Collective::barrier:
      return 0;
    case Collective::all_to_all:
      return call.input.bytes() -
             static_cast<size_t>(call.input_counts[static_cast<size_t>(rank)]) * size_bytes(call.input.dtype());
    case Collective::exchange:
      break;
  }
  size_t bytes = 0;
  for (const Transfer& transfer : call.sends) bytes += transfer.tensor.bytes();
  return bytes;
}

ProcessGroup::ProcessGroup(std::shared_ptr<Communicator> communicator) : communicator_(std::move(communicator)) {}

const std::string& ProcessGroup::name() const {
  return communicator_ ? communicator_->members().name : self().name;
}
int ProcessGroup::rank() const {
  return communicator_ ? communicator_->members().rank : 0;
}
int ProcessGroup::size() const {
  return communicator_ ? communicator_->members().size() : 1;
}
std::span<const int> ProcessGroup::ranks() const {
  return communicator_ ? communicator_->members().ranks : self().ranks;
}

Work ProcessGroup::all_reduce(ExecContext& ctx, const Tensor& tensor, Reduction reduction,
                              std::string_view label) const {
  CommCall call{.collective = Collective::all_reduce,
                .label = std::string(label),
                .reduction = reduction,
                .output = tensor,
                .input = tensor};
  expect_usable(ctx, call, "tensor", tensor);
  expect_reducible(call);
  return size() == 1 ? Work() : communicator_->start(ctx, std::move(call));
}

Work ProcessGroup::reduce_scatter(ExecContext& ctx, const Tensor& output, const Tensor& input, Reduction reduction,
                                  std::string_view label) const {
  CommCall call{.collective = Collective::reduce_scatter,
                .label = std::string(label),
                .reduction = reduction,
                .output = output,
                .input = input};
  expect_usable(ctx, call, "input", input);
  expect_usable(ctx, call, "output", output);
  expect_dtype(describe(call.collective, label), "output", output, input.dtype());
  expect(input.numel() == output.numel() * size(), call, "input",
         std::to_string(input.numel()) + " elements are not " + std::to_string(size()) + " x " +
             std::to_string(output.numel()));
  expect_reducible(call);
  if (size() > 1) return communicator_->start(ctx, std::move(call));
  copy_to_self(ctx, output, input);
  return {};
}

Work ProcessGroup::all_gather(ExecContext& ctx, const Tensor& output, const Tensor& input,
                              std::string_view label) const {
  CommCall call{.collective = Collective::all_gather, .label = std::string(label), .output = output, .input = input};
  expect_usable(ctx, call, "input", input);
  expect_usable(ctx, call, "output", output);
  expect_dtype(describe(call.collective, label), "output", output, input.dtype());
  expect(output.numel() == input.numel() * size(), call, "output",
         std::to_string(output.numel()) + " elements are not " + std::to_string(size()) + " x " +
             std::to_string(input.numel()));
  if (size() > 1) return communicator_->start(ctx, std::move(call));
  copy_to_self(ctx, output, input);
  return {};
}

Work ProcessGroup::all_to_all(ExecContext& ctx, const Tensor& output, std::span<const int64_t> output_rows,
                              const Tensor& input, std::span<const int64_t> input_rows, std::string_view label) const {
  CommCall call{.collective = Collective::all_to_all, .label = std::string(label), .output = output, .input = input};
  expect_usable(ctx, call, "input", input);
  expect_usable(ctx, call, "output", output);
  expect_dtype(describe(call.collective, label), "output", output, input.dtype());
  expect_rows(call, "input", input, input_rows, size());
  expect_rows(call, "output", output, output_rows, size());
  call.input_counts = elements(input_rows, input);
  call.output_counts = elements(output_rows, output);
  const size_t me = static_cast<size_t>(rank());
  expect(call.input_counts[me] == call.output_counts[me], call, "own part", "differs between input and output");
  if (size() > 1) return communicator_->start(ctx, std::move(call));
  copy_to_self(ctx, output, input);
  return {};
}

Work ProcessGroup::broadcast(ExecContext& ctx, const Tensor& tensor, int root, std::string_view label) const {
  CommCall call{.collective = Collective::broadcast,
                .label = std::string(label),
                .output = tensor,
                .input = tensor,
                .root = root};
  expect_usable(ctx, call, "tensor", tensor);
  expect(root >= 0 && root < size(), call, "root",
         std::to_string(root) + " is not a rank of the " + std::to_string(size()));
  return size() == 1 ? Work() : communicator_->start(ctx, std::move(call));
}

Work ProcessGroup::send(ExecContext& ctx, const Tensor& tensor, int peer, std::string_view label) const {
  return exchange(ctx, {{peer, tensor}}, {}, label);
}

Work ProcessGroup::recv(ExecContext& ctx, const Tensor& tensor, int peer, std::string_view label) const {
  return exchange(ctx, {}, {{peer, tensor}}, label);
}

Work ProcessGroup::exchange(ExecContext& ctx, std::vector<Transfer> sends, std::vector<Transfer> receives,
                            std::string_view label) const {
  CommCall call{.collective = Collective::exchange,
                .label = std::string(label),
                .sends = std::move(sends),
                .receives = std::move(receives)};
  for (const auto& [what, transfers] :
       {std::pair{"sent tensor", &call.sends}, std::pair{"received tensor", &call.receives}}) {
    for (const Transfer& transfer : *transfers) {
      expect(transfer.peer >= 0 && transfer.peer < size(), call, "peer",
             std::to_string(transfer.peer) + " is not a rank of the " + std::to_string(size()));
      expect(transfer.peer != rank(), call, "peer", "is this rank itself");
      expect_usable(ctx, call, what, transfer.tensor);
    }
  }
  return call.sends.empty() && call.receives.empty() ? Work() : communicator_->start(ctx, std::move(call));
}

Work ProcessGroup::barrier(ExecContext& ctx, std::string_view label) const {
  if (size() == 1) return {};
  return communicator_->start(ctx, {.collective = Collective::barrier, .label = std::string(label)});
}

}  // namespace nemo
