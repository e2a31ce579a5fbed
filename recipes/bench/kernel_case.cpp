#include "recipes/bench/kernel_case.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "core/ops/copy.h"
#include "kernels/base/philox.h"
#include "recipes/bench/random_tensor.h"

namespace nemo {
namespace {

// Odd where kernels allow it, and of several blocks and rows of blocks.
constexpr KernelSizes kCheckSizes{.tokens = 2 * 67,
                                  .seq_length = 67,
                                  .hidden = 136,
                                  .ffn = 200,
                                  .heads = 4,
                                  .groups = 2,
                                  .head_size = 64,
                                  .vocab = 1003,
                                  .padded_vocab = 1024,
                                  .elements = 100003};

// Of the largest value: sums run in fp32 in another order, results may be rounded to bf16.
double tolerance(DType dtype) {
  return dtype == DType::fp32 ? 1e-4 : 2e-2;
}

constexpr int64_t kSquareSum = 0, kLossSum = 1, kGradNorm = 2;  // of the step state's part of read_outputs()

// max |a - b| / max |b|; infinite where a is not finite and b is.
double difference(const std::vector<float>& a, const std::vector<float>& b) {
  double largest = 0, worst = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!std::isfinite(b[i]) && !std::isfinite(a[i])) continue;
    if (!std::isfinite(a[i])) return INFINITY;
    largest = std::max(largest, static_cast<double>(std::abs(b[i])));
    worst = std::max(worst, static_cast<double>(std::abs(a[i] - b[i])));
  }
  return worst == 0 ? 0 : worst / largest;
}

// What a launch leaves in its outputs on the check's sizes; nothing where the device has no such kernel.
std::optional<std::vector<std::vector<float>>> check_outputs(ExecContext& ctx, const KernelCase& kernel) {
  KernelBuffers buffers(ctx, KernelBuffers::Purpose::check, 1);
  const KernelLaunch launch = kernel.make(buffers, kCheckSizes);
  if (!launch) return std::nullopt;
  launch();
  return buffers.read_outputs();
}

// Throws where an output is not what the CPU's loop makes of the same inputs, or holds what is not a number.
double check(ExecContext& ctx, const KernelCase& kernel, const std::vector<std::vector<float>>& ours) {
  Runtime cpu({});
  ExecContext cpu_ctx(cpu, ctx.compute_dtype());
  const auto reference = check_outputs(cpu_ctx, kernel);
  double worst = 0;
  for (size_t i = 0; i < ours.size(); ++i) {
    for (const float value : (*reference)[i])
      if (!std::isfinite(value))
        throw DeviceError{"cpu", kernel.name, "output " + std::to_string(i) + " of the check is not finite",
                          "report it with this line"};
    worst = std::max(worst, difference(ours[i], (*reference)[i]));
  }
  if (worst <= tolerance(ctx.compute_dtype())) return worst;
  char text[32];
  std::snprintf(text, sizeof text, "%.2g", worst);
  throw DeviceError{to_string(ctx.device()), kernel.name,
                    std::string("is off the CPU's result by ") + text + " of the largest value",
                    "report it with this line; --filter leaves it out"};
}

}  // namespace

KernelSizes kernel_sizes(const DecoderConfig& model, int64_t padded_vocab_size, int64_t tokens) {
  const int64_t seq_length = tokens % model.seq_length == 0 ? model.seq_length : tokens;
  return {.tokens = tokens,
          .seq_length = seq_length,
          .hidden = model.hidden_size,
          .ffn = model.ffn_hidden_size,
          .heads = model.num_attention_heads,
          .groups = model.num_query_groups,
          .head_size = model.head_dim,
          .vocab = model.vocab_size,
          .padded_vocab = padded_vocab_size,
          .elements = model.hidden_size * (model.gated() ? 3 : 2) * model.ffn_hidden_size};
}

Tensor KernelBuffers::random(int64_t count, DType dtype, Draw draw) {
  ++number_;
  if (purpose_ == Purpose::timing)
    return draw == Draw::normal ? random_tensor(ctx_, {count}, dtype, number_)
                                : uniform_tensor(ctx_, {count}, dtype, number_);
  const Tensor x = ctx_.empty({count}, dtype);
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) {
    const kernels::Philox4 words = kernels::philox({number_, 0}, 0, i);
    values[i] = draw == Draw::normal ? kernels::standard_normal(words.x, words.y) : kernels::uniform(words.x);
  }
  write_fp32(ctx_, x, values.data());
  ctx_.synchronize();  // `values` ends here
  return x;
}

Tensor KernelBuffers::poisoned(int64_t count, DType dtype) {
  const Tensor x = ctx_.empty({count}, dtype);
  outputs_.push_back(x);
  if (purpose_ == Purpose::timing) return x;
  const std::vector<uint8_t> not_a_number(x.bytes(), 0xff);
  upload(ctx_, x, not_a_number.data());
  ctx_.synchronize();
  return x;
}

const Tensor& KernelBuffers::counted(const Tensor& x, size_t times) {
  moved_bytes_ += times * x.bytes();
  return kept_.emplace_back(x);
}

const int32_t* KernelBuffers::indices(int64_t count, int64_t limit) {
  ++number_;
  std::vector<int32_t> below(static_cast<size_t>(count));
  for (size_t i = 0; i < below.size(); ++i)
    below[i] = static_cast<int32_t>(kernels::philox({number_, 0}, 0, i).x % static_cast<uint64_t>(limit));
  return values(below);
}

kernels::StepState* KernelBuffers::step_state() {
  if (!state_.defined()) {
    const kernels::StepState start{.step = 3,
                                   .lr = 1e-3f,
                                   .bias_correction1 = 0.27f,
                                   .bias_correction2 = 0.14f,
                                   .inverse_loss_denominator = 1e-2f,
                                   .clip_norm = 1};
    state_ = ctx_.empty({sizeof start}, DType::uint8);
    upload(ctx_, state_, &start);
    ctx_.synchronize();
  }
  return static_cast<kernels::StepState*>(state_.raw());
}

std::vector<std::vector<float>> KernelBuffers::read_outputs() {
  std::vector<std::vector<float>> values;
  for (const Tensor& output : outputs_) values.push_back(read_fp32(ctx_, output));
  if (state_.defined()) {
    kernels::StepState state;
    download(ctx_, &state, state_);
    std::vector<float> sums(3);
    sums[kSquareSum] = static_cast<float>(state.grad_square_sum);
    sums[kLossSum] = static_cast<float>(state.loss_sum);
    sums[kGradNorm] = state.grad_norm;
    for (const float sum : sums) values.push_back({sum});
  }
  return values;
}

std::vector<KernelCase> list_kernel_cases(DType compute_dtype) {
  std::vector<KernelCase> all;
  with_float_type("bench", compute_dtype, [&](auto t) {
    using T = decltype(t);
    for (const auto& list : {attention_cases<T>, row_cases<T>, pointwise_cases<T>, optimizer_cases<T>})
      for (KernelCase& kernel : list()) all.push_back(std::move(kernel));
  });
  return all;
}

std::optional<KernelTime> time_kernel(ExecContext& ctx, const KernelCase& kernel, const KernelSizes& sizes) {
  if (kernel.cuda_only && !ctx.device().is_cuda()) return std::nullopt;
  const auto outputs = check_outputs(ctx, kernel);
  if (!outputs) return std::nullopt;
  KernelTime time{.name = kernel.name};
  time.check_error = check(ctx, kernel, *outputs);
  std::vector<KernelBuffers> buffers{{ctx, KernelBuffers::Purpose::timing, 1}};
  std::vector<KernelLaunch> launches{kernel.make(buffers[0], sizes)};
  if (!launches[0]) return std::nullopt;
  time.moved_bytes = buffers[0].moved_bytes();
  const int64_t copies = copies_beyond_cache(time.moved_bytes);
  for (int64_t i = 1; i < copies; ++i) {
    buffers.emplace_back(ctx, KernelBuffers::Purpose::timing, i + 1);
    launches.push_back(kernel.make(buffers.back(), sizes));
  }
  if (kernel.flops) time.flops = kernel.flops(sizes);
  time.ms = time_launches(ctx.runtime(), [&](int64_t number) { launches[static_cast<size_t>(number % copies)](); });
  return time;
}

}  // namespace nemo
