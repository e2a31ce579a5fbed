#include "core/optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace nemo {

double learning_rate(const OptimizerConfig& config, int64_t step, int64_t max_steps) {
  const ScheduleConfig& sched = config.sched;
  const double lr = config.lr, low = sched.min_lr;
  if (step <= sched.warmup_steps) return lr * static_cast<double>(step) / static_cast<double>(sched.warmup_steps);
  const int64_t after_warmup = step - sched.warmup_steps;
  const int64_t open_decay = std::max<int64_t>(1, max_steps - sched.warmup_steps - sched.constant_steps);
  const int64_t decay_steps = sched.decay_steps > 0 ? sched.decay_steps : open_decay;
  // How much of the decay lies behind this step, in [0, 1].
  const auto decayed = [&](int64_t first) {
    return std::clamp(static_cast<double>(step - first) / static_cast<double>(decay_steps), 0.0, 1.0);
  };
  switch (sched.name) {
    case ScheduleName::constant: return lr;
    case ScheduleName::cosine_annealing:
      return low + (lr - low) * 0.5 * (1 + std::cos(std::numbers::pi * decayed(sched.warmup_steps + sched.constant_steps)));
    case ScheduleName::linear: return lr + (low - lr) * decayed(sched.warmup_steps + sched.constant_steps);
    case ScheduleName::wsd: return lr + (low - lr) * decayed(std::max(sched.warmup_steps, max_steps - decay_steps));
    case ScheduleName::inverse_square_root: {
      if (after_warmup <= sched.constant_steps) return lr;
      const double start = static_cast<double>(std::max<int64_t>(1, sched.warmup_steps + sched.constant_steps));
      return std::max(low, lr * std::sqrt(start / static_cast<double>(step)));
    }
  }
  return lr;
}

}  // namespace nemo
