// The linear in 8 bits against fp64 on the same grid; when its weight's copy is made; whatever order gradients run in.
#include "core/ops/fp8_linear.h"

#include <catch2/catch.hpp>
#include <functional>

#include "core/autograd/tape.h"
#include "core/error.h"
#include "core/nn/linear.h"
#include "core/ops/copy.h"
#include "core/ops/linear.h"
#include "kernels/base/fp8.h"
#include "tests/kernels/device_array.h"

using namespace nemo;
using nemo::testing::check_close;
using nemo::testing::random_values;

namespace {

constexpr int64_t kTokens = 48, kIn = 32, kFirst = 64, kSecond = 16, kOut = kFirst + kSecond;

// What the format makes of the values under the scale of their largest.
template <class Float>
std::vector<double> on_grid(const std::vector<float>& values) {
  float amax = 0;
  for (const float value : values) amax = std::max(amax, std::fabs(value));
  const Fp8Scale scale = fp8_scale<Float>(amax);
  std::vector<double> rounded;
  for (const float value : values)
    rounded.push_back(static_cast<double>(static_cast<float>(Float(value * scale.multiplier))) * scale.scale);
  return rounded;
}

// c[i, j] = sum over l of a[i, l] b[l, j], with the strides that say how a and b lie.
std::vector<double> product(int64_t m, int64_t n, int64_t k, const std::vector<double>& a, int64_t a_row,
                            int64_t a_column, const std::vector<double>& b, int64_t b_row, int64_t b_column) {
  std::vector<double> c;
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0;
      for (int64_t l = 0; l < k; ++l) sum += a[i * a_row + l * a_column] * b[l * b_row + j * b_column];
      c.push_back(sum);
    }
  return c;
}

struct Layer {
  explicit Layer(Device device, DType gradients = DType::fp32)
      : runtime(device, false),
        ctx(runtime, DType::bf16),
        store([](const std::string& block) { return block == "layers.1"; }),
        linear(store, "layers.1", {{"layers.1.a", kFirst}, {"layers.1.b", kSecond}}, kIn, true,
               Initializer::normal(0.3f)) {
    for (Parameter* parameter : store.parameters())
      if (parameter->name.ends_with("bias")) parameter->initializer = Initializer::normal(1);
    store.allocate(ctx, {.values = DType::bf16, .gradients = gradients}, true);
    store.initialise(ctx, 5);
    ctx.set_training(true);
    store.begin_step();
  }
  Tensor random(int64_t rows, int64_t columns, unsigned seed, double scale) {
    const Tensor x = ctx.empty({rows, columns}, DType::bf16);
    write_fp32(ctx, x, random_values<float>(static_cast<size_t>(x.numel()), seed, scale).data());
    return x;
  }
  std::vector<float> weight() { return read_fp32(ctx, linear.weight().value(ctx)); }
  std::vector<float> gradients(const char* kind) {
    std::vector<float> all;
    for (const char* member : {"layers.1.a.", "layers.1.b."})
      for (const float value : store.read_gradient(ctx, *store.find(std::string(member) + kind))) all.push_back(value);
    return all;
  }

  Runtime runtime;
  ExecContext ctx;
  ParameterStore store;
  Linear linear;
};

struct Outcome {
  std::vector<float> y, dx, dw, db;
  bool operator==(const Outcome&) const = default;
};

Outcome forward_backward(Layer& layer, const Tensor& x, const Tensor& dy,
                         const std::function<void(Tape&)>& prepare = {}) {
  Tape tape;
  if (prepare) prepare(tape);
  Outcome out;
  tape.watch(x);
  {
    const Recording recording(layer.ctx, tape);
    const Tensor y = layer.linear(layer.ctx, x);
    tape.backward(layer.ctx, {{y, dy}});
    out.y = read_fp32(layer.ctx, y);
  }
  tape.run_deferred(layer.ctx);
  out.dx = read_fp32(layer.ctx, tape.gradient(x));
  if (layer.linear.weight().trainable()) out.dw = layer.gradients("weight");
  out.db = layer.gradients("bias");
  return out;
}

void matches_fp64(Device device) {
  const DType gradients = GENERATE(DType::fp32, DType::bf16);
  Layer layer(device, gradients);
  const Tensor x = layer.random(kTokens, kIn, 1, 2), dy = layer.random(kTokens, kOut, 2, 1e-4);
  const std::vector<float> bias = read_fp32(layer.ctx, layer.linear.bias().value(layer.ctx));
  const auto xq = on_grid<fp8_e4m3>(read_fp32(layer.ctx, x)), wq = on_grid<fp8_e4m3>(layer.weight()),
             dyq = on_grid<fp8_e5m2>(read_fp32(layer.ctx, dy));
  std::vector<double> y = product(kTokens, kOut, kIn, xq, kIn, 1, wq, 1, kIn);
  for (size_t i = 0; i < y.size(); ++i) y[i] += static_cast<double>(bias[i % kOut]);
  const std::vector<double> dx = product(kTokens, kIn, kOut, dyq, kOut, 1, wq, kIn, 1),
                            dw = product(kOut, kIn, kTokens, dyq, 1, kOut, xq, kIn, 1);

  const Outcome once = forward_backward(layer, x, dy);
  check_close<bf16>(once.y, y);
  check_close<bf16>(once.dx, dx);
  if (device.is_cuda() || gradients == DType::bf16)
    check_close<bf16>(once.dw, dw);
  else
    check_close<float>(once.dw, dw);
  // The bias's gradient is summed from dy itself.
  std::vector<double> db(kOut);
  const std::vector<float> dy_values = read_fp32(layer.ctx, dy);
  for (size_t i = 0; i < dy_values.size(); ++i) db[i % kOut] += static_cast<double>(dy_values[i]);
  if (gradients == DType::bf16)
    check_close<bf16>(once.db, db);
  else
    check_close<float>(once.db, db);

  // A second micro-batch adds.
  const Outcome twice = forward_backward(layer, x, dy);
  std::vector<double> doubled;
  for (const double value : dw) doubled.push_back(2 * value);
  check_close<bf16>(twice.dw, doubled);
}

void copy_is_made_once_a_step(Device device) {
  Layer layer(device);
  const Tensor x = layer.random(kTokens, kIn, 1, 2);
  const auto y = [&] { return read_fp32(layer.ctx, layer.linear(layer.ctx, x)); };
  const std::vector<float> before = y();
  std::vector<float> halved = layer.weight();
  for (float& value : halved) value *= 0.5f;
  write_fp32(layer.ctx, layer.linear.weight().value(layer.ctx), halved.data());
  CHECK(y() == before);  // the copy of this step
  layer.store.begin_step();
  const std::vector<float> after = y();
  CHECK(after != before);
  layer.ctx.set_training(false);  // outside training the weight itself is multiplied
  const std::vector<float> inference = y();
  CHECK(inference != after);
  Layer plain(device);
  const Tensor same_x = plain.random(kTokens, kIn, 1, 2);
  write_fp32(plain.ctx, plain.linear.weight().value(plain.ctx), halved.data());
  CHECK(read_fp32(plain.ctx, nemo::linear(plain.ctx, same_x, plain.linear.weight(), plain.linear.bias())) == inference);
}

}  // namespace

TEST_CASE("the fp8 linear and its gradients match fp64 on the same grid", "[ops][fp8]") {
  matches_fp64({});
}
TEST_CASE("the fp8 linear and its gradients match fp64 on the same grid on CUDA", "[.][cuda]") {
  matches_fp64({.type = DeviceType::cuda});
}
TEST_CASE("a weight's fp8 copy is made once a step", "[ops][fp8]") {
  copy_is_made_once_a_step({});
}
TEST_CASE("a weight's fp8 copy is made once a step on CUDA", "[.][cuda]") {
  copy_is_made_once_a_step({.type = DeviceType::cuda});
}

TEST_CASE("the fp8 linear's bits do not depend on the order of its gradients", "[ops][fp8]") {
  Layer layer({});
  const Tensor x = layer.random(kTokens, kIn, 1, 2), dy = layer.random(kTokens, kOut, 2, 1);
  const Outcome expected = forward_backward(layer, x, dy);
  SECTION("weight gradients deferred") {
    Layer other({});
    CHECK(forward_backward(other, x, dy, [](Tape& tape) { tape.defer_weight_gradients(true); }) == expected);
  }
  SECTION("weight frozen") {
    Layer other({});
    for (const char* name : {"layers.1.a.weight", "layers.1.b.weight"}) other.store.find(name)->trainable = false;
    Outcome rest = expected;
    rest.dw.clear();
    CHECK(forward_backward(other, x, dy) == rest);
  }
  SECTION("a row-strided input") {
    Layer other({});
    const Tensor wide = other.ctx.empty({kTokens, kIn + 16}, DType::bf16);
    copy_rows(other.ctx, wide.slice(1, 0, kIn), x);
    CHECK(forward_backward(other, wide.slice(1, 0, kIn).with_id(other.ctx.next_id()), dy) == expected);
  }
}

TEST_CASE("the fp8 linear keeps its input in 8 bits", "[ops][fp8]") {
  Layer layer({});
  const Tensor dy;
  const auto kept = [&](bool training) {
    layer.ctx.set_training(training);
    Tape tape;
    const Recording recording(layer.ctx, tape);
    Tensor x = layer.ctx.empty({4096, kIn}, DType::bf16);
    zero(layer.ctx, x);
    const size_t before = layer.runtime.arena().stats().live_bytes - x.storage()->buffer.bytes();
    Tensor y = layer.linear(layer.ctx, x);
    const size_t of_y = y.storage()->buffer.bytes();
    x = y = Tensor();
    return layer.runtime.arena().stats().live_bytes + of_y - before - of_y;
  };
  const size_t in_16_bits = kept(false), in_8_bits = kept(true);
  CHECK(in_16_bits == 4096 * kIn * 2);
  CHECK(in_8_bits == 4096 * kIn + 512);  // and its scale
}

TEST_CASE("the fp8 linear refuses what it cannot multiply", "[ops][fp8]") {
  Layer layer({});
  const Tensor x = layer.random(24, kIn, 1, 1);
  CHECK_THROWS_WITH(layer.linear(layer.ctx, x),
                    "quantise: x: is [24, 32] with rows 32 apart; try: sizes that are multiples of 16");
}
