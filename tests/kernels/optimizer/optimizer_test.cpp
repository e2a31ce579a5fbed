#include "kernels/optimizer/optimizer.h"

#include "tests/kernels/device_array.h"
#include "tests/kernels/threads.h"

using namespace nemo;
using namespace nemo::kernels;
using namespace nemo::testing;

namespace {

const AdamWArgs kArgs{.beta1 = 0.9f, .beta2 = 0.95f, .eps = 1e-8f, .weight_decay = 0.1f, .lr_multiplier = 0.5f, .seed = 1, .site = 2};

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
    out.w[i] -= static_cast<double>(state.lr) * kArgs.lr_multiplier *
                (out.m[i] / state.bias_correction1 / (std::sqrt(out.v[i] / state.bias_correction2) + kArgs.eps) +
                 static_cast<double>(kArgs.weight_decay) * out.w[i]);
  }
  return out;
}

template <class T, class Grad, class Moment>
void check_adamw(const TestDevice& device, int64_t count, bool with_master) {
  CAPTURE(count, with_master, name(dtype_of<T>), name(dtype_of<Grad>), name(dtype_of<Moment>));
  StepState state = some_state();
  const auto master = random_values<float>(count, 1);
  std::vector<T> param;
  for (const float value : master) param.push_back(static_cast<T>(value));
  const auto m = random_values<Moment>(count, 2, 0.1);
  auto v = random_values<Moment>(count, 3, 0.1);
  for (Moment& value : v) value = static_cast<Moment>(std::fabs(static_cast<float>(value)));
  const auto grad = random_values<Grad>(count, 4);
  const Reference expected = reference(with_master ? to_doubles(master) : to_doubles(param), m, v, grad, state);

  Array<T> param_in(device, param);
  Array<float> master_in(device, master);
  Array<Moment> m_in(device, m), v_in(device, v);
  Array<Grad> grad_in(device, grad);
  const auto launch = [&] {
    Array<StepState> state_in(device, std::vector<StepState>{state});
    NEMO_LAUNCH(device, adamw, param_in.data(), with_master ? master_in.data() : static_cast<float*>(nullptr), m_in.data(), v_in.data(),
                grad_in.data(), state_in.data(), count, kArgs);
  };
  state.skip = 1;
  launch();
  CHECK(same_bits(param_in.values(), param));
  CHECK(same_bits(master_in.values(), master));
  CHECK(same_bits(m_in.values(), m));
  CHECK(same_bits(v_in.values(), v));

  state.skip = 0;
  launch();
  check_close<Moment>(m_in.values(), expected.m);
  check_close<Moment>(v_in.values(), expected.v);
  if (with_master) {
    const auto stepped = master_in.values();
    check_close<float>(stepped, expected.w);
    std::vector<T> rounded;
    for (const float value : stepped) rounded.push_back(static_cast<T>(value));
    CHECK(same_bits(param_in.values(), rounded));
  } else if (std::is_same_v<T, float>) {
    check_close<float>(param_in.values(), expected.w);
  } else {  // stochastic: each to one of the two neighbours, without a drift
    const auto stepped = param_in.values();
    double drift = 0;
    bool neighbours = true;
    for (size_t i = 0; i < stepped.size(); ++i) {
      const double error = static_cast<double>(static_cast<float>(stepped[i])) - expected.w[i];
      const double last_place = std::ldexp(1.0, std::ilogb(expected.w[i]) - 7);
      neighbours = neighbours && std::fabs(error) <= 1.001 * last_place;
      drift += error / last_place / static_cast<double>(count);
    }
    CHECK(neighbours);
    if (count > 1000) CHECK(std::fabs(drift) < 5 * 0.5 / std::sqrt(static_cast<double>(count)));
  }
}

void adamw_steps(const TestDevice& device) {
  for (const int64_t count : {1, 37, 40003}) {
    check_adamw<float, float, float>(device, count, false);
    check_adamw<bf16, float, float>(device, count, true);
    check_adamw<bf16, bf16, float>(device, count, true);
    check_adamw<bf16, bf16, bf16>(device, count, true);
    check_adamw<bf16, float, float>(device, count, false);
    check_adamw<bf16, bf16, bf16>(device, count, false);
  }
}

template <class Grad>
void check_square_sum(const TestDevice& device, int64_t count) {
  const auto grad = random_values<Grad>(count, 5);
  double expected = 1.5;
  for (const Grad& g : grad) expected += static_cast<double>(static_cast<float>(g)) * static_cast<double>(static_cast<float>(g));
  Array<Grad> grad_in(device, grad);
  const auto run = [&] {
    StepState state;
    state.grad_square_sum = 1.5;
    Array<StepState> state_in(device, std::vector<StepState>{state});
    Array<double> scratch(device, kSquareSumBlocks);
    NEMO_LAUNCH(device, square_sum, state_in.data(), grad_in.data(), count, scratch.data());
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
NEMO_KERNEL_TEST("square_sum adds in fp64 in a fixed order", "[optimizer]", square_sums)
NEMO_KERNEL_TEST("finish_grad_norm clips, and skips what is not finite", "[optimizer]", grad_norms)
