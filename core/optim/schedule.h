// The learning rate of a step.
#pragma once
#include <cstdint>

#include "core/optim/config.h"

namespace nemo {

// step counts from 1; max_steps bounds the decay where the recipe leaves decay_steps open.
//   warm-up: lr step / warmup_steps; then constant_steps at lr; then the decay to min_lr, then min_lr.
//   CosineAnnealing: min + (lr - min) (1 + cos(pi t)) / 2, Loshchilov & Hutter 2017, arXiv:1608.03983; Linear: straight;
//   InverseSquareRoot: lr sqrt(max(warmup, 1) / step), not under min_lr; Constant: lr; WSD: lr until the last decay_steps.
double learning_rate(const OptimizerConfig& config, int64_t step, int64_t max_steps);

}  // namespace nemo
