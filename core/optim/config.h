// The recipe's `optim` section: optimizer, precision of its state, and learning-rate schedule.
// Not here: the update itself (core/optim/optimizer.h) and the schedule's arithmetic (core/optim/schedule.h).
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "core/config/field.h"
#include "kernels/base/dtype.h"

namespace nemo {

enum class OptimizerName : uint8_t { adamw, adam, sgd, lion, muon };
enum class ScheduleName : uint8_t { cosine_annealing, linear, constant, inverse_square_root, wsd };

std::span<const std::string_view> enum_names(OptimizerName);
std::span<const std::string_view> enum_names(ScheduleName);
std::span<const std::string_view> enum_names(DType);

// Learning rate over optimizer steps: linear warm-up to lr, constant_steps at lr, decay to min_lr over decay_steps,
// then min_lr.
struct ScheduleConfig {
  ScheduleName name = ScheduleName::cosine_annealing;
  int64_t warmup_steps = 0;
  int64_t constant_steps = 0;
  int64_t decay_steps = 0;  // 0: what trainer.max_steps leaves
  double min_lr = 0;

  template <class Visit>
  void fields(Visit&& visit) {
    visit("name", name, "shape of the decay");
    visit("warmup_steps", warmup_steps, "optimizer steps of linear warm-up", AtLeast{0});
    visit("constant_steps", constant_steps, "optimizer steps at the peak between warm-up and decay", AtLeast{0});
    visit("decay_steps", decay_steps, "optimizer steps of decay; null: those that trainer.max_steps leaves", AtLeast{0},
          Optional{});
    visit("min_lr", min_lr, "learning rate at the end of the decay and after it", AtLeast{0});
  }
};

struct OptimizerConfig {
  OptimizerName name = OptimizerName::adamw;
  double lr = 3e-4;
  std::array<double, 2> betas = {0.9, 0.95};
  double eps = 1e-8;
  double weight_decay = 0.1;
  bool decay_norms_and_biases = false;
  DType master_dtype = DType::fp32;
  DType moment_dtype = DType::fp32;
  bool grad_reduce_in_fp32 = true;
  bool overlap_grad_reduce = true;
  bool overlap_param_gather = true;
  ScheduleConfig sched;

  template <class Visit>
  void fields(Visit&& visit) {
    visit("name", name, "optimizer");
    visit("lr", lr, "peak learning rate", Positive{});
    visit("betas", betas, "decay of the first and second moment; Kingma & Ba 2014, arXiv:1412.6980", AtLeast{0},
          Below{1});
    visit("eps", eps, "added to the root of the second moment", Positive{});
    visit("weight_decay", weight_decay, "decoupled; Loshchilov & Hutter 2019, arXiv:1711.05101", AtLeast{0});
    visit("decay_norms_and_biases", decay_norms_and_biases, "weight decay for norm weights and biases too");
    visit("master_dtype", master_dtype, "weights the optimizer updates", OneOf{"fp32", "bf16"});
    visit("moment_dtype", moment_dtype, "first and second moments; bf16 ones are rounded stochastically", OneOf{"fp32", "bf16"});
    visit("grad_reduce_in_fp32", grad_reduce_in_fp32,
          "accumulate and reduce gradients in fp32; false: in bf16, rounded at each micro-batch");
    visit("overlap_grad_reduce", overlap_grad_reduce, "reduce gradients while the backward pass runs");
    visit("overlap_param_gather", overlap_param_gather, "gather updated weights while the next forward pass runs");
    visit("sched", sched, "learning rate over steps");
  }
};

}  // namespace nemo
