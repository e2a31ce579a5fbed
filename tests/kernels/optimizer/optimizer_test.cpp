#include "kernels/optimizer/optimizer.h"

#include "kernels/base/philox.h"
#include "tests/kernels/device_array.h"
#include "tests/kernels/threads.h"

using namespace nemo;
using namespace nemo::kernels;
using namespace nemo::testing;

namespace {

constexpr float kWeightDecay = 0.1f, kLrMultiplier = 0.5f;
const AdamWArgs kArgs{.beta1 = 0.9f, .beta2 = 0.95f, .eps = 1e-8f, .seed = 1};

// The buffers' table on the device, with what a launcher takes.
struct Table {
  Table(const TestDevice& device, std::vector<OptimizerBuffer> buffers)
      : num_chunks(number_chunks(buffers.data(), static_cast<int>(buffers.size()))), count(static_cast<int>(buffers.size())), rows(device, std::move(buffers)) {}
  OptimizerBuffers get() { return {rows.data(), count, num_chunks}; }
  int64_t num_chunks;
  int count;
  Array<OptimizerBuffer> rows;
};

template <class T, class Grad, class Moment>
void launch_adamw(const TestDevice& device, const OptimizerBuffers& buffers, const StepState* state, const AdamWArgs& args) {
  if (device.is_cuda()) adamw_cuda<T, Grad, Moment>(buffers, state, args, device.stream());
  else adamw_cpu<T, Grad, Moment>(buffers, state, args);
}

StepState some_state() {
  StepState state;
  state.step = 4;
  state.lr = 1e-2f;
  state.bias_correction1 = 0.3439f;
  state.bias_correction2 = 0.18549375f;
  state.grad_scale = 0.25f;
  return state;
}

struct Reference { std::vector<double> w, m, v; };

template <class Grad, class Moment>
Reference reference(std::vector<double> w, const std::vector<Moment>& m, const std::vector<Moment>& v, const std::vector<Grad>& grad,
                    const StepState& state) {
  Reference out{std::move(w), to_doubles(m), to_doubles(v)};
  const double beta1 = kArgs.beta1, beta2 = kArgs.beta2;
  for (size_t i = 0; i < out.w.size(); ++i) {
    const double g = static_cast<double>(static_cast<float>(grad[i])) * state.grad_scale;
    out.m[i] = beta1 * out.m[i] + (1 - beta1) * g;
    out.v[i] = beta2 * out.v[i] + (1 - beta2) * g * g;
    out.w[i] -= static_cast<double>(state.lr) * kLrMultiplier *
                (out.m[i] / state.bias_correction1 / (std::sqrt(out.v[i] / state.bias_correction2) + kArgs.eps) +
                 static_cast<double>(kWeightDecay) * out.w[i]);
  }
  return out;
}

// Each value is one of the two bf16 neighbours of what it stands for, and over many there is no drift. What fp32 itself may
// lose where two terms cancel counts against the largest value.
void check_stochastic(const std::vector<bf16>& rounded, const std::vector<double>& exact) {
  double drift = 0, largest = 0;
  bool neighbours = true;
  for (const double value : exact) largest = std::max(largest, std::fabs(value));
  for (size_t i = 0; i < rounded.size(); ++i) {
    const double error = static_cast<double>(static_cast<float>(rounded[i])) - exact[i];
    const double last_place = std::ldexp(1.0, std::ilogb(exact[i]) - 7);
    neighbours = neighbours && std::fabs(error) <= 1.001 * last_place + kTolerance<float> * largest;
    drift += error / last_place / static_cast<double>(rounded.size());
  }
  CHECK(neighbours);
  if (rounded.size() > 1000) CHECK(std::fabs(drift) < 5 * 0.5 / std::sqrt(static_cast<double>(rounded.size())));
}

// Three buffers of different sizes in one launch, so that chunks begin and end everywhere.
template <class T, class Grad, class Moment>
void check_adamw(const TestDevice& device, int64_t count, bool with_master) {
  CAPTURE(count, with_master, name(dtype_of<T>), name(dtype_of<Grad>), name(dtype_of<Moment>));
  struct Buffer {
    std::vector<float> master;
    std::vector<T> param;
    std::vector<Moment> m, v;
    std::vector<Grad> grad;
    Array<T> param_in;
    Array<float> master_in;
    Array<Moment> m_in, v_in;
    Array<Grad> grad_in;
  };
  StepState state = some_state();
  std::vector<Buffer> buffers;
  std::vector<OptimizerBuffer> rows;
  unsigned seed = 1;
  for (const int64_t size : {count, int64_t{128}, count / 2 + 3}) {
    const auto master = random_values<float>(size, seed++);
    std::vector<T> param;
    for (const float value : master) param.push_back(static_cast<T>(value));
    const auto m = random_values<Moment>(size, seed++, 0.1);
    auto v = random_values<Moment>(size, seed++, 0.1);
    for (Moment& value : v) value = static_cast<Moment>(std::fabs(static_cast<float>(value)));
    const auto grad = random_values<Grad>(size, seed++);
    buffers.push_back({master, param, m, v, grad, {device, param}, {device, master}, {device, m}, {device, v}, {device, grad}});
  }
  for (Buffer& buffer : buffers)
    rows.push_back({.param = buffer.param_in.data(), .master = with_master ? buffer.master_in.data() : nullptr, .m = buffer.m_in.data(), .v = buffer.v_in.data(),
                    .grad = buffer.grad_in.data(), .count = static_cast<int64_t>(buffer.param.size()), .weight_decay = kWeightDecay, .lr_multiplier = kLrMultiplier,
                    .site = rows.size() + 2});
  Table table(device, rows);
  const auto launch = [&] {
    Array<StepState> state_in(device, std::vector<StepState>{state});
    launch_adamw<T, Grad, Moment>(device, table.get(), state_in.data(), kArgs);
  };
  state.skip = 1;
  launch();
  for (Buffer& buffer : buffers) {
    CHECK(same_bits(buffer.param_in.values(), buffer.param));
    CHECK(same_bits(buffer.master_in.values(), buffer.master));
    CHECK(same_bits(buffer.m_in.values(), buffer.m));
    CHECK(same_bits(buffer.v_in.values(), buffer.v));
  }
  state.skip = 0;
  launch();
  for (Buffer& buffer : buffers) {
    const Reference expected = reference(with_master ? to_doubles(buffer.master) : to_doubles(buffer.param), buffer.m, buffer.v, buffer.grad, state);
    if constexpr (std::is_same_v<Moment, bf16>) {
      check_stochastic(buffer.m_in.values(), expected.m);
      check_stochastic(buffer.v_in.values(), expected.v);
    } else {
      check_close<Moment>(buffer.m_in.values(), expected.m);
      check_close<Moment>(buffer.v_in.values(), expected.v);
    }
    if (with_master) {
      const auto stepped = buffer.master_in.values();
      check_close<float>(stepped, expected.w);
      std::vector<T> rounded;
      for (const float value : stepped) rounded.push_back(static_cast<T>(value));
      CHECK(same_bits(buffer.param_in.values(), rounded));
    } else if constexpr (std::is_same_v<T, float>) {
      check_close<float>(buffer.param_in.values(), expected.w);
    } else {
      check_stochastic(buffer.param_in.values(), expected.w);
    }
  }
}

void adamw_steps(const TestDevice& device) {
  for (const int64_t count : {1, 37, 40003}) {
    check_adamw<float, float, float>(device, count, false);
    check_adamw<float, float, bf16>(device, count, false);
    check_adamw<bf16, float, float>(device, count, true);
    check_adamw<bf16, bf16, float>(device, count, true);
    check_adamw<bf16, bf16, bf16>(device, count, true);
    check_adamw<bf16, float, float>(device, count, false);
    check_adamw<bf16, float, bf16>(device, count, false);
    check_adamw<bf16, bf16, float>(device, count, false);
    check_adamw<bf16, bf16, bf16>(device, count, false);
  }
}

// Without weight decay and with a zero gradient a step is a product with beta (moments) or nothing (weights): no device may
// round it another way, so the draws themselves are compared, against the rule in the header.
void rounding_draws(const TestDevice& device) {
  const int64_t count = 2 * kOptimizerChunk + 29;
  const auto w = random_values<bf16>(count, 9), m = random_values<bf16>(count, 10), v = random_values<bf16>(count, 11, 0.01, 1.0);
  Array<bf16> w_in(device, w), m_in(device, m), v_in(device, v), grad(device, std::vector<bf16>(static_cast<size_t>(count), bf16(0.0f)));
  const AdamWArgs args{.beta1 = 0.75f, .beta2 = 0.625f, .eps = 1, .seed = 7};  // products with bf16 are exact in fp32
  StepState state;
  state.step = 5;
  Array<StepState> state_in(device, std::vector<StepState>{state});
  Table table(device, {{.param = w_in.data(), .master = nullptr, .m = m_in.data(), .v = v_in.data(), .grad = grad.data(), .count = count, .weight_decay = 0, .site = 3}});
  launch_adamw<bf16, bf16, bf16>(device, table.get(), state_in.data(), args);
  const auto expected = [&](const std::vector<bf16>& before, float beta, uint32_t factor) {
    std::vector<bf16> rounded;
    for (int64_t i = 0; i < count; ++i) {
      const Philox4 draw = philox({.seed = 7, .site = 3}, 5, static_cast<uint64_t>(i / 8));
      const uint32_t words[4] = {draw.x, draw.y, draw.z, draw.w};
      const uint32_t random = words[i % 8 / 2] * factor >> (i % 2 * 16) & 0xffffu;
      bf16 result;
      result.bits = static_cast<uint16_t>((std::bit_cast<uint32_t>(beta * static_cast<float>(before[static_cast<size_t>(i)])) + random) >> 16);
      rounded.push_back(result);
    }
    return rounded;
  };
  CHECK(same_bits(m_in.values(), expected(m, 0.75f, 0x9E3779B1u)));
  CHECK(same_bits(v_in.values(), expected(v, 0.625f, 0x85EBCA77u)));
  CHECK(same_bits(w_in.values(), w));  // lr is 0
}

// What is not finite stays so, beside neighbours that are and alone; a NaN must not turn into a number.
void not_finite(const TestDevice& device) {
  constexpr int64_t kCount = 27;
  std::vector<bf16> w(kCount, bf16(1.0f)), m(kCount, bf16(0.5f)), v(kCount, bf16(0.25f)), grad(kCount, bf16(0.125f));
  w[1] = bf16(NAN), m[9] = bf16(NAN), v[17] = bf16(NAN), w[25] = bf16(NAN), v[5] = bf16(INFINITY), m[12] = bf16(-INFINITY);
  grad[20] = bf16(NAN);
  Array<bf16> w_in(device, w), m_in(device, m), v_in(device, v), grad_in(device, grad);
  Table table(device, {{.param = w_in.data(), .master = nullptr, .m = m_in.data(), .v = v_in.data(), .grad = grad_in.data(), .count = kCount, .weight_decay = 0}});
  Array<StepState> state_in(device, std::vector<StepState>{some_state()});
  launch_adamw<bf16, bf16, bf16>(device, table.get(), state_in.data(), kArgs);
  const auto new_w = to_doubles(w_in.values()), new_m = to_doubles(m_in.values()), new_v = to_doubles(v_in.values());
  for (size_t i = 0; i < kCount; ++i) {
    CAPTURE(i);
    CHECK(std::isnan(new_w[i]) == (i == 1 || i == 9 || i == 17 || i == 20 || i == 25));
    CHECK(std::isnan(new_m[i]) == (i == 9 || i == 20));
    CHECK(std::isnan(new_v[i]) == (i == 17 || i == 20));
  }
  CHECK(new_v[5] == INFINITY);
  CHECK(new_w[5] == Approx(1).epsilon(0.01));
  CHECK(new_m[12] == -INFINITY);
  CHECK(new_w[12] == INFINITY);
}

// A second moment that decays by less than bf16's last place a step must still decay.
void slow_moments(const TestDevice& device) {
  constexpr int64_t kCount = 4096, kSteps = 700;
  const std::vector<bf16> zeros(kCount, bf16(0.0f));
  Array<bf16> w(device, zeros), m(device, std::vector<bf16>(kCount, bf16(1.0f))), v(device, std::vector<bf16>(kCount, bf16(1.0f))), grad(device, zeros);
  Table table(device, {{.param = w.data(), .master = nullptr, .m = m.data(), .v = v.data(), .grad = grad.data(), .count = kCount, .weight_decay = 0}});
  StepState state;
  for (state.step = 1; state.step <= kSteps; ++state.step) {
    Array<StepState> state_in(device, std::vector<StepState>{state});
    launch_adamw<bf16, bf16, bf16>(device, table.get(), state_in.data(), {.beta1 = 0.995f, .beta2 = 0.999f, .eps = 1});
  }
  const auto mean = [](Array<bf16>& values) {
    double sum = 0;
    for (const double value : to_doubles(values.values())) sum += value / kCount;
    return sum;
  };
  CHECK(mean(v) == Approx(std::pow(0.999, kSteps)).epsilon(0.01));
  CHECK(mean(m) == Approx(std::pow(0.995, kSteps)).epsilon(0.01));
}

OptimizerBuffer gradients_only(const void* grad, int64_t count) {
  return {.param = nullptr, .master = nullptr, .m = nullptr, .v = nullptr, .grad = grad, .count = count, .weight_decay = 0};
}

template <class Grad>
void check_square_sum(const TestDevice& device, int64_t count) {
  const auto grad = random_values<Grad>(count, 5), small = random_values<Grad>(70, 6);
  double expected = 1.5;
  for (const auto* values : {&grad, &small})
    for (const Grad& g : *values) expected += static_cast<double>(static_cast<float>(g)) * static_cast<double>(static_cast<float>(g));
  Array<Grad> grad_in(device, grad), small_in(device, small);
  Table table(device, {gradients_only(small_in.data(), 70), gradients_only(grad_in.data(), count)});
  const auto run = [&] {
    StepState state;
    state.grad_square_sum = 1.5;
    Array<StepState> state_in(device, std::vector<StepState>{state});
    Array<double> scratch(device, kSquareSumBlocks);
    if (device.is_cuda()) square_sum_cuda<Grad>(state_in.data(), table.get(), scratch.data(), device.stream());
    else square_sum_cpu<Grad>(state_in.data(), table.get(), scratch.data());
    scratch.values();  // looks at the guard
    return std::vector<double>{state_in.values()[0].grad_square_sum};
  };
  CHECK(run()[0] == Approx(expected).epsilon(1e-12));
  if (device.is_cuda()) CHECK(same_bits(run(), run()));
  else check_same_bits_for_any_thread_count(run);
}

void square_sums(const TestDevice& device) {
  for (const int64_t count : {1, 1000, 16385, 3000001}) {
    check_square_sum<float>(device, count);
    check_square_sum<bf16>(device, count);
  }
}

StepState finished(const TestDevice& device, StepState state) {
  Array<StepState> state_in(device, std::vector<StepState>{state});
  NEMO_LAUNCH(device, finish_grad_norm, state_in.data());
  return state_in.values()[0];
}

void grad_norms(const TestDevice& device) {
  StepState state;
  state.grad_square_sum = 16.0;
  CHECK(finished(device, state).grad_norm == 4.0f);
  CHECK(finished(device, state).grad_scale == 1.0f);
  CHECK(finished(device, state).skip == 0);
  state.clip_norm = 1.0f;
  CHECK(finished(device, state).grad_scale == Approx(0.25));
  state.clip_norm = 10.0f;
  CHECK(finished(device, state).grad_scale == 1.0f);
  state.loss_sum = NAN;
  CHECK(finished(device, state).skip == 1);
  state.loss_sum = 0;
  state.grad_square_sum = INFINITY;
  CHECK(finished(device, state).skip == 1);
}

}  // namespace

NEMO_KERNEL_TEST("adamw steps weights and moments, and leaves all alone when told to skip", "[optimizer]", adamw_steps)
NEMO_KERNEL_TEST("adamw rounds bf16 states by the draws of its rule", "[optimizer]", rounding_draws)
NEMO_KERNEL_TEST("adamw keeps what is not finite", "[optimizer]", not_finite)
NEMO_KERNEL_TEST("bf16 moments decay by less than their last place", "[optimizer]", slow_moments)
NEMO_KERNEL_TEST("square_sum adds in fp64 in a fixed order", "[optimizer]", square_sums)
NEMO_KERNEL_TEST("finish_grad_norm clips, and skips what is not finite", "[optimizer]", grad_norms)
