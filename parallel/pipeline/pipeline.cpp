#include "parallel/pipeline/pipeline.h"

#include <algorithm>
#include <string>

#include "core/error.h"
#include "core/exec_context.h"
#include "core/ops/copy.h"

namespace nemo {
namespace {

std::vector<Tensor> tensors_of(const Bundle& bundle) {
  std::vector<Tensor> tensors{bundle.residual};
  if (bundle.branch.defined()) tensors.push_back(bundle.branch);
  return tensors;
}

// The gradient of a stage's input; zeros where nothing reached it, so that both sides agree on what is sent.
Tensor gradient_of(ExecContext& ctx, const Tape& tape, const Tensor& input) {
  Tensor gradient = tape.gradient(input);
  if (gradient.defined()) return gradient;
  gradient = ctx.empty(input.shape(), input.dtype());
  zero(ctx, gradient);
  return gradient;
}

}  // namespace

PipelineLinks::PipelineLinks(GroupFactory& factory, const std::vector<int>& stages, int64_t stage, bool wrap) {
  const int64_t num_stages = static_cast<int64_t>(stages.size());
  if (num_stages == 1) return;
  // Making a group is a collective: every stage makes its links in the order of the links along the pipeline.
  for (int64_t from = 0; from < (wrap ? num_stages : num_stages - 1); ++from) {
    const int64_t to = (from + 1) % num_stages;
    if (stage != from && stage != to) continue;
    std::vector<int> ranks{stages[static_cast<size_t>(from)], stages[static_cast<size_t>(to)]};
    std::ranges::sort(ranks);
    const std::string link = std::to_string(from) + "-" + std::to_string(to);
    const ProcessGroup forward = factory.make("pp_forward_" + link, ranks),
                       backward = factory.make("pp_backward_" + link, ranks);
    (stage == from ? forward_out_ : forward_in_) = forward;
    (stage == from ? backward_in_ : backward_out_) = backward;
  }
}

Work PipelineLinks::transfer(ExecContext& ctx, const ProcessGroup& link, std::vector<Tensor> tensors, bool sends,
                             const char* label) {
  std::vector<Transfer> transfers;
  for (Tensor& tensor : tensors) transfers.push_back({1 - link.rank(), std::move(tensor)});
  return sends ? link.exchange(ctx, std::move(transfers), {}, label)
               : link.exchange(ctx, {}, std::move(transfers), label);
}

Pipeline::Pipeline(ExecContext& ctx, PipelineLinks links, PipelineSchedule schedule, int64_t num_stages, int64_t stage,
                   std::vector<PipelineChunk> chunks)
    : ctx_(ctx),
      links_(std::move(links)),
      schedule_(schedule),
      num_stages_(num_stages),
      stage_(stage),
      chunks_(std::move(chunks)) {}

Pipeline::~Pipeline() {
  std::vector<Work> works = std::move(sends_);
  for (auto& [key, flight] : flights_) works.insert(works.end(), {flight.input, flight.gradient});
  for (Work& work : works) {
    try {
      work.wait(ctx_);
    } catch (const std::exception&) {  // the run has ended by this or an earlier error, which its own waiter throws
    }
  }
}

void Pipeline::train(ExecContext& ctx, int64_t num_micro_batches, const BlockHooks& hooks,
                     const OnWeightGradients& on_weight_gradients) {
  for (const PipelineAction& action : pipeline_actions(schedule_, shape(num_micro_batches), stage_))
    act(ctx, action, true, hooks, on_weight_gradients);
  for (Work& send : sends_) send.wait(ctx);
  sends_.clear();
}

void Pipeline::evaluate(ExecContext& ctx, int64_t num_micro_batches) {
  for (const PipelineAction& action : forward_actions(shape(num_micro_batches), stage_))
    act(ctx, action, false, {}, {});
  for (Work& send : sends_) send.wait(ctx);
  sends_.clear();
}

Bundle Pipeline::room(ExecContext& ctx, const PipelineChunk& chunk, int64_t micro_batch) const {
  const Shape shape = chunk.input_shape(micro_batch);
  Bundle bundle{.residual = ctx.empty(shape, ctx.compute_dtype())};
  if (chunk.takes_branch) bundle.branch = ctx.empty(shape, ctx.compute_dtype());
  return bundle;
}

void Pipeline::act(ExecContext& ctx, const PipelineAction& action, bool training, const BlockHooks& hooks,
                   const OnWeightGradients& on_weight_gradients) {
  using Kind = PipelineAction::Kind;
  const std::pair key{action.chunk, action.micro_batch};
  const PipelineChunk& chunk = chunks_[static_cast<size_t>(action.chunk)];
  const PipelinePlace here{stage_, action.chunk};
  const bool first = !previous_place(shape(1), here), last = !next_place(shape(1), here);
  Flight& flight = flights_[key];
  switch (action.kind) {
    case Kind::receive_forward:
      flight.in = room(ctx, chunk, action.micro_batch);
      flight.input = links_.receive_forward(ctx, tensors_of(flight.in));
      break;
    case Kind::forward:
      forward(ctx, action, flight, training, hooks);
      if (!training && last) flights_.erase(key);
      break;
    case Kind::send_forward:
      sends_.push_back(links_.send_forward(ctx, tensors_of(flight.out)));
      // The backward needs to know the values, not what they were.
      flight.out.residual = flight.out.residual.without_storage();
      if (flight.out.branch.defined()) flight.out.branch = flight.out.branch.without_storage();
      if (!training) flights_.erase(key);
      break;
    case Kind::receive_backward: {
      flight.grad_out.residual = ctx.empty(flight.out.residual.shape(), ctx.compute_dtype());
      if (flight.out.branch.shape().rank() > 0)
        flight.grad_out.branch = ctx.empty(flight.out.branch.shape(), ctx.compute_dtype());
      flight.gradient = links_.receive_backward(ctx, tensors_of(flight.grad_out));
      break;
    }
    case Kind::backward:
      backward(ctx, flight, last);
      if (first && schedule_ != PipelineSchedule::zero_bubble) flights_.erase(key);
      break;
    case Kind::send_backward: {
      Bundle gradient{.residual = gradient_of(ctx, flight.tape, flight.in.residual)};
      if (flight.in.branch.defined()) gradient.branch = gradient_of(ctx, flight.tape, flight.in.branch);
      sends_.push_back(links_.send_backward(ctx, tensors_of(gradient)));
      if (schedule_ != PipelineSchedule::zero_bubble) flights_.erase(key);
      break;
    }
    case Kind::weight_gradient:
      flight.tape.run_deferred(ctx);
      flights_.erase(key);
      on_weight_gradients(ctx, action.chunk);
      break;
  }
}

void Pipeline::forward(ExecContext& ctx, const PipelineAction& action, Flight& flight, bool training,
                       const BlockHooks& hooks) {
  const PipelineChunk& chunk = chunks_[static_cast<size_t>(action.chunk)];
  flight.input.wait(ctx);
  if (!training) {
    flight.out = chunk.forward(ctx, flight.in, action.micro_batch);
    return;
  }
  flight.tape.set_block_hooks(hooks);
  flight.tape.defer_weight_gradients(schedule_ == PipelineSchedule::zero_bubble);
  for (Tensor* input : {&flight.in.residual, &flight.in.branch})
    if (input->defined()) flight.tape.watch(*input = input->with_id(ctx.next_id()));
  const Recording recording(ctx, flight.tape);
  flight.out = chunk.forward(ctx, flight.in, action.micro_batch);
}

void Pipeline::backward(ExecContext& ctx, Flight& flight, bool last) {
  if (last) {
    flight.tape.backward(ctx, {{flight.out.output, Tensor()}});
  } else {
    flight.gradient.wait(ctx);
    std::vector<std::pair<Tensor, Tensor>> outputs{{flight.out.residual, std::move(flight.grad_out.residual)}};
    if (flight.grad_out.branch.defined()) outputs.emplace_back(flight.out.branch, std::move(flight.grad_out.branch));
    flight.tape.backward(ctx, outputs);
  }
  flight.out = flight.grad_out = {};
}

}  // namespace nemo
