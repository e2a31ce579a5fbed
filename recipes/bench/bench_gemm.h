// `nemo bench gemm`: matrix products alone, those of a training step or of given sizes, timed on the device.
// Not here: the products' place in a whole step (recipes/bench/bench_train.h), other kernels (kernel_case.h).
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "core/ops/linear.h"
#include "models/decoder/config.h"
#include "recipes/bench/timing.h"

namespace nemo {

// c [m, n] (+)= op(a) op(b) over k, as core/ops/linear.h's gemm takes them.
struct Product {
  std::string name;
  int64_t m, n, k;
  GemmFlags flags;
  DType in, out;
  int64_t per_step = 1;  // how often a step of one micro-batch does it

  double flops() const { return 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k); }
};

// Every product of one micro-batch of `tokens`: forward, gradient of the input, gradient of the weight. The config is
// resolved, with a vocabulary. gradients: the element type that weight gradients are kept in.
std::vector<Product> step_products(ExecContext& ctx, const DecoderConfig& model, int64_t padded_vocab_size,
                                   int64_t tokens, DType gradients);

struct ProductTime {
  Product product;
  Spread ms;
  double tflops() const { return product.flops() / ms.median * 1e-9; }
};

// Times each on random numbers, in turn on several operands where these would fit in a cache. Waits for the device.
std::vector<ProductTime> time_products(ExecContext& ctx, const std::vector<Product>& products);

}  // namespace nemo
