// Magnitudes that ops take of what they write: those of the values, and the same bits downstream as a pass of its own.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

#include "core/autograd/tape.h"
#include "core/nn/linear.h"
#include "core/ops/activation.h"
#include "core/ops/copy.h"
#include "core/ops/elementwise.h"
#include "tests/kernels/device_array.h"

using namespace nemo;
using kernels::Activation;
using nemo::testing::random_values;

namespace {

struct Fixture {
  explicit Fixture(Device device, bool takes_amax = true) : runtime(device, false), ctx(runtime, DType::bf16) {
    ctx.set_training(true);
    ctx.set_takes_amax(takes_amax);
  }
  Tensor tensor(const Shape& shape, unsigned seed, int64_t not_finite = -1) {
    const Tensor x = ctx.empty(shape, DType::bf16);
    std::vector<float> values = random_values<float>(static_cast<size_t>(x.numel()), seed, 3);
    if (not_finite >= 0) values[static_cast<size_t>(not_finite)] = NAN;
    write_fp32(ctx, x, values.data());
    return x;
  }
  void check_amax(const Tensor& x) {
    REQUIRE(x.amax() != nullptr);
    float collected = 0, expected = 0;
    const auto larger = [](float a, float b) { return std::isnan(a) || a > b ? a : b; };
    for (const float part : read_fp32(ctx, *x.amax())) collected = larger(part, collected);
    for (const float value : read_fp32(ctx, x)) expected = larger(std::fabs(value), expected);
    CAPTURE(collected, expected);
    CHECK((std::isnan(expected) ? std::isnan(collected) : collected == expected));
  }

  Runtime runtime;
  ExecContext ctx;
};

void of_activations(Device device) {
  Fixture f(device);
  const Activation kind = GENERATE(Activation::gelu_tanh, Activation::silu);
  for (const auto& [rows, columns] : {std::pair<int64_t, int64_t>{1, 2}, {3, 14}, {33, 48}, {257, 1040}, {70, 6400}})
    for (const int64_t not_finite : {int64_t{-1}, rows * columns - 1}) {
      CAPTURE(rows, columns, not_finite);
      for (const bool gated : {false, true}) {
        Tape tape;
        const Recording recording(f.ctx, tape);
        const Tensor x = f.tensor({rows, columns}, 1, not_finite);
        tape.watch(x);
        const Tensor y = gated ? gated_activation(f.ctx, x, kind) : activation(f.ctx, x, kind);
        f.check_amax(y);
        tape.backward(f.ctx, {{y, f.tensor(y.shape(), 2)}});
        f.check_amax(tape.gradient(x));
      }
    }
}

// up, gated activation, down: loss-free gradients of a small feed-forward block.
std::vector<std::vector<float>> feed_forward(Device device, bool takes_amax) {
  Fixture f(device, takes_amax);
  ParameterStore store([](const std::string&) { return true; });
  const Linear up(store, "b", {{"gate", 80}, {"up", 80}}, 48, true, Initializer::normal(0.2f)),
      down(store, "b", {{"down", 48}}, 80, true, Initializer::normal(0.2f));
  store.allocate(f.ctx, {.values = DType::bf16}, true);
  store.initialise(f.ctx, 3);
  store.begin_step();
  Tape tape;
  const Recording recording(f.ctx, tape);
  const Tensor x = f.tensor({64, 48}, 1);
  tape.watch(x);
  const Tensor y = down(f.ctx, gated_activation(f.ctx, up(f.ctx, x), Activation::silu));
  std::vector<std::vector<float>> results = {read_fp32(f.ctx, y)};
  tape.backward(f.ctx, {{y, f.tensor({64, 48}, 2)}});
  results.push_back(read_fp32(f.ctx, tape.gradient(x)));
  for (const Parameter* parameter : store.parameters()) results.push_back(store.read_gradient(f.ctx, *parameter));
  return results;
}

void bits_stay(Device device) {
  CHECK(feed_forward(device, true) == feed_forward(device, false));
}

}  // namespace

TEST_CASE("activations take the largest magnitude they write", "[ops][fp8]") {
  of_activations({});
}
TEST_CASE("activations take the largest magnitude they write on CUDA", "[.][cuda]") {
  of_activations({.type = DeviceType::cuda});
}
TEST_CASE("fp8 products keep their bits whoever takes the magnitudes", "[ops][fp8]") {
  bits_stay({});
}
TEST_CASE("fp8 products keep their bits whoever takes the magnitudes on CUDA", "[.][cuda]") {
  bits_stay({.type = DeviceType::cuda});
}

TEST_CASE("magnitudes stay with the values they were taken of", "[ops][fp8]") {
  Fixture f({});
  const Tensor y = activation(f.ctx, f.tensor({16, 32}, 1), Activation::relu);
  CHECK(y.view({32, 16}).amax() != nullptr);
  CHECK(y.slice(1, 0, 8).amax() == nullptr);
  CHECK(y.segment(0, {2, 32}).amax() == nullptr);
  CHECK(y.with_id(f.ctx.next_id()).amax() == nullptr);
  const Tensor other = activation(f.ctx, f.tensor({16, 32}, 2), Activation::relu);
  CHECK(add_gradients(f.ctx, y, other).amax() == nullptr);
  CHECK(add_gradients(f.ctx, activation(f.ctx, f.tensor({16, 32}, 3), Activation::relu), other).amax() == nullptr);
  f.ctx.set_training(false);
  CHECK(activation(f.ctx, f.tensor({16, 32}, 1), Activation::relu).amax() == nullptr);
}
