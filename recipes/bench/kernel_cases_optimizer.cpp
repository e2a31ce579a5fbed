// A table: kernels over flat parameter buffers, and what each reads and writes.
#include <cstring>
#include <type_traits>
#include <vector>

#include "kernels/optimizer/optimizer.h"
#include "kernels/random/random.h"
#include "recipes/bench/kernel_case.h"

namespace nemo {
namespace {

using namespace kernels;

constexpr AdamWArgs kAdamW{.beta1 = 0.9f, .beta2 = 0.95f, .eps = 1e-8f, .seed = 1};

// One flat buffer, as a table on the device.
OptimizerBuffers table_of(KernelBuffers& b, OptimizerBuffer buffer) {
  const int64_t num_chunks = number_chunks(&buffer, 1);
  static_assert(sizeof(OptimizerBuffer) % sizeof(int64_t) == 0);
  std::vector<int64_t> words(sizeof(OptimizerBuffer) / sizeof(int64_t));
  std::memcpy(words.data(), &buffer, sizeof(buffer));
  return {reinterpret_cast<const OptimizerBuffer*>(b.values(words)), 1, num_chunks};
}

template <class Grad>
KernelLaunch square_sum_launch(KernelBuffers& b, const KernelSizes& s) {
  const OptimizerBuffer buffer{.param = nullptr,
                               .master = nullptr,
                               .m = nullptr,
                               .v = nullptr,
                               .grad = b.input<Grad>(s.elements),
                               .count = s.elements,
                               .weight_decay = 0};
  return kernel_launch(b.ctx(), square_sum_cpu<Grad>, square_sum_cuda<Grad>, b.step_state(), table_of(b, buffer),
                       static_cast<double*>(b.scratch_bytes(kSquareSumBlocks * 8)));
}

SliceShape slice_of(const KernelSizes& s) {
  return {.rows = s.padded_vocab, .columns = s.hidden, .global_columns = s.hidden};
}

// With a bf16 parameter: beside an fp32 master, or alone and rounded stochastically.
template <class T, class Grad, class Moment, bool kMaster>
KernelLaunch adamw_launch(KernelBuffers& b, const KernelSizes& s) {
  OptimizerBuffer buffer{.param = kMaster ? b.output<T>(s.elements) : b.in_out<T>(s.elements),
                         .master = nullptr,
                         .m = b.in_out<Moment>(s.elements),
                         .v = b.in_out<Moment>(s.elements, KernelBuffers::Draw::uniform),
                         .grad = b.input<Grad>(s.elements),
                         .count = s.elements,
                         .weight_decay = 0.1f,
                         .site = 2};
  if constexpr (kMaster) buffer.master = b.in_out<float>(s.elements);
  return kernel_launch(b.ctx(), adamw_cpu<T, Grad, Moment>, adamw_cuda<T, Grad, Moment>, table_of(b, buffer),
                       static_cast<const StepState*>(b.step_state()), kAdamW);
}

}  // namespace

template <class T>
std::vector<KernelCase> optimizer_cases() {
  using B = KernelBuffers;
  using S = KernelSizes;
  std::vector<KernelCase> cases{
      {"square_sum, fp32", square_sum_launch<float>},
      {"square_sum, bf16", square_sum_launch<bf16>},
      {"finish_grad_norm",
       [](B& b, const S&) {
         return kernel_launch(b.ctx(), finish_grad_norm_cpu, finish_grad_norm_cuda, b.step_state());
       }},
      {"fill_normal",
       [](B& b, const S& s) {
         return kernel_launch(b.ctx(), fill_normal_cpu<T>, fill_normal_cuda<T>, b.output<T>(s.padded_vocab * s.hidden),
                              RandomKey{1, 2}, 0.0f, 0.02f, slice_of(s));
       }},
      {"fill_uniform",
       [](B& b, const S& s) {
         return kernel_launch(b.ctx(), fill_uniform_cpu<T>, fill_uniform_cuda<T>,
                              b.output<T>(s.padded_vocab * s.hidden), RandomKey{1, 2}, -1.0f, 1.0f, slice_of(s));
       }},
      {"fill_constant",
       [](B& b, const S& s) {
         return kernel_launch(b.ctx(), fill_constant_cpu<T>, fill_constant_cuda<T>, b.output<T>(s.elements), 1.0f,
                              s.elements);
       }},
  };
  if constexpr (std::is_same_v<T, float>) {
    cases.push_back({"adamw, fp32", adamw_launch<float, float, float, false>});
  } else {
    cases.push_back({"adamw, fp32 master", adamw_launch<bf16, float, float, true>});
    cases.push_back({"adamw, all bf16", adamw_launch<bf16, bf16, bf16, false>});
  }
  return cases;
}

template std::vector<KernelCase> optimizer_cases<float>();
template std::vector<KernelCase> optimizer_cases<bf16>();

}  // namespace nemo
