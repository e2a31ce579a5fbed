// Which layers multiply in fp8 under `trainer.precision: fp8-mixed`, and what a recipe must satisfy for that.
// Not here: the products (core/ops/fp8_linear.h), storage (recipes/precision.h).
#pragma once
#include <cstdint>
#include <functional>
#include <string>

#include "core/device/device.h"

namespace nemo {

struct Recipe;

// Layers [begin, end). Embedding, head and norms never multiply in fp8.
struct Fp8Layers {
  int64_t begin = 0, end = 0;
  bool any() const { return begin < end; }
};

// Of a resolved recipe: all layers, or those between the first and last that stay in bf16; none in another precision.
Fp8Layers fp8_layers(const Recipe& recipe);

// For a ParameterStore: whether the block's linears multiply in fp8.
std::function<bool(const std::string& block)> blocks_in_fp8(Fp8Layers layers);

// RecipeError where precision is fp8-mixed and a product has a size that fp8 products do not take, or no layer is left.
void check_fp8(const Recipe& recipe);

// DeviceError where the GPU has no fp8 products. The CPU computes the same numbers through fp32.
void require_fp8(Device device);

}  // namespace nemo
