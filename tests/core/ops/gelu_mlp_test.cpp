// The fused feed-forward block: fp64's function and gradients, on the CPU the very bits of its three ops.
#include "core/ops/gelu_mlp.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "core/autograd/tape.h"
#include "core/nn/linear.h"
#include "core/ops/activation.h"
#include "core/ops/copy.h"
#include "tests/kernels/device_array.h"

using namespace nemo;
using nemo::testing::check_close;
using nemo::testing::random_values;
using nemo::testing::to_doubles;

namespace {

constexpr int64_t kIn = 40, kOut = 24;

struct Outcome {
  std::vector<float> y, dx;
  std::vector<std::vector<float>> gradients;  // up weight, down weight, up bias, down bias
  bool operator==(const Outcome&) const = default;
};

struct Block {
  Block(Device device, DType dtype, DType gradients, int64_t ffn_size)
      : runtime(device, false),
        ctx(runtime, dtype),
        up(store, "b", {{"up", ffn_size}}, kIn, true, Initializer::normal(0.2f)),
        down(store, "b", {{"down", kOut}}, ffn_size, true, Initializer::normal(0.2f)) {
    for (Parameter* parameter : store.parameters())
      if (parameter->name.ends_with("bias")) parameter->initializer = Initializer::normal(0.5f);
    store.allocate(ctx, {.values = dtype, .gradients = gradients}, true);
    store.initialise(ctx, 5);
    ctx.set_training(true);
    store.begin_step();
  }
  Tensor random(const Shape& shape, unsigned seed) {
    const Tensor x = ctx.empty(shape, ctx.compute_dtype());
    write_fp32(ctx, x, random_values<float>(static_cast<size_t>(x.numel()), seed).data());
    return x;
  }
  std::vector<double> values(const ParameterSpan& span) { return to_doubles(read_fp32(ctx, span.value(ctx))); }

  Outcome run(const Tensor& x, const Tensor& dy, bool fused, bool deferred = false) {
    Tape tape;
    tape.defer_weight_gradients(deferred);
    tape.watch(x);
    Outcome out;
    {
      const Recording recording(ctx, tape);
      const Tensor y = fused ? gelu_mlp(ctx, x, up.weight(), up.bias(), down.weight(), down.bias())
                             : down(ctx, activation(ctx, up(ctx, x), Activation::gelu_tanh));
      out.y = read_fp32(ctx, y);
      tape.backward(ctx, {{y, dy}});
    }
    tape.run_deferred(ctx);
    out.dx = read_fp32(ctx, tape.gradient(x));
    for (const char* name : {"up.weight", "down.weight", "up.bias", "down.bias"})
      if (store.find(name)->trainable) out.gradients.push_back(store.read_gradient(ctx, *store.find(name)));
    return out;
  }

  Runtime runtime;
  ExecContext ctx;
  ParameterStore store;
  Linear up, down;
};

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

std::vector<double> column_sums(const std::vector<double>& x, int64_t columns) {
  std::vector<double> sums(static_cast<size_t>(columns));
  for (size_t i = 0; i < x.size(); ++i) sums[i % sums.size()] += x[i];
  return sums;
}

// The second micro-batch takes the way that adds. ffn 72 is in steps of 8, as the library wants; 35 is not.
void matches_fp64(Device device) {
  const DType gradients = GENERATE(DType::fp32, DType::bf16);
  for (const int64_t ffn : {72, 35})
    for (const int64_t tokens : {1, 57, 200}) {
      CAPTURE(ffn, tokens, name(gradients));
      Block block(device, DType::bf16, gradients, ffn);
      const Tensor x = block.random({tokens, kIn}, 1), dy = block.random({tokens, kOut}, 2);
      const auto xs = to_doubles(read_fp32(block.ctx, x)), dys = to_doubles(read_fp32(block.ctx, dy)),
                 w1 = block.values(block.up.weight()), b1 = block.values(block.up.bias()),
                 w2 = block.values(block.down.weight()), b2 = block.values(block.down.bias());
      std::vector<double> pre = product(tokens, ffn, kIn, xs, kIn, 1, w1, 1, kIn), activated, slope;
      for (size_t i = 0; i < pre.size(); ++i) {
        const double p = pre[i] += b1[i % b1.size()];
        const double t = std::tanh(std::sqrt(2 / M_PI) * (p + 0.044715 * p * p * p));
        activated.push_back(0.5 * p * (1 + t));
        slope.push_back(0.5 * (1 + t) + 0.5 * p * (1 - t * t) * std::sqrt(2 / M_PI) * (1 + 3 * 0.044715 * p * p));
      }
      std::vector<double> y = product(tokens, kOut, ffn, activated, ffn, 1, w2, 1, ffn);
      for (size_t i = 0; i < y.size(); ++i) y[i] += b2[i % b2.size()];
      std::vector<double> dpre = product(tokens, ffn, kOut, dys, kOut, 1, w2, ffn, 1);
      for (size_t i = 0; i < dpre.size(); ++i) dpre[i] *= slope[i];
      const std::vector<double> expected[] = {product(ffn, kIn, tokens, dpre, 1, ffn, xs, kIn, 1),
                                              product(kOut, ffn, tokens, dys, 1, kOut, activated, ffn, 1),
                                              column_sums(dpre, ffn), column_sums(dys, kOut)};
      for (const double times : {1.0, 2.0}) {
        const Outcome out = block.run(x, dy, true);
        check_close<bf16>(out.y, y);
        check_close<bf16>(out.dx, product(tokens, kIn, ffn, dpre, ffn, 1, w1, kIn, 1));
        for (size_t i = 0; i < 4; ++i) {
          CAPTURE(i, times);
          std::vector<double> sum = expected[i];
          for (double& value : sum) value *= times;
          check_close<bf16>(out.gradients[i], sum);
        }
      }
    }
}

}  // namespace

TEST_CASE("gelu_mlp and its gradients match fp64", "[ops][gelu_mlp]") {
  matches_fp64({});
}
TEST_CASE("gelu_mlp and its gradients match fp64 on CUDA", "[.][cuda]") {
  matches_fp64({.type = DeviceType::cuda});
}

TEST_CASE("gelu_mlp has the bits of its three ops, in whatever order gradients run", "[ops][gelu_mlp]") {
  const DType dtype = GENERATE(DType::fp32, DType::bf16);
  const std::string frozen = GENERATE("", "up.weight", "down.weight", "down.bias");
  CAPTURE(name(dtype), frozen);
  const auto run = [&](bool fused, bool deferred) {
    Block block({}, dtype, DType::fp32, 72);
    if (!frozen.empty()) block.store.find(frozen)->trainable = false;
    return block.run(block.random({33, kIn}, 1), block.random({33, kOut}, 2), fused, deferred);
  };
  const Outcome expected = run(false, false);
  CHECK(run(true, false) == expected);
  CHECK(run(true, true) == expected);
}
