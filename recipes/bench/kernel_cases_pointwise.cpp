// A table: kernels that work on each element, and what each reads and writes.
#include "kernels/activation/activation.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/quantise/quantise.h"
#include "kernels/rope/rope.h"
#include "recipes/bench/kernel_case.h"

namespace nemo {
namespace {

using namespace kernels;

std::vector<int32_t> positions_of(const KernelSizes& s) {
  std::vector<int32_t> positions(static_cast<size_t>(s.tokens));
  for (size_t i = 0; i < positions.size(); ++i)
    positions[i] = static_cast<int32_t>(static_cast<int64_t>(i) % s.seq_length);
  return positions;
}

std::vector<int64_t> token_ids_of(const KernelSizes& s) {
  std::vector<int64_t> ids(static_cast<size_t>(s.tokens));
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int64_t>(i);
  return ids;
}

QuantiseShape quantise_shape_of(const KernelSizes& s) {
  const int64_t columns = s.ffn / kQuantiseMultiple * kQuantiseMultiple;
  return {.rows = s.tokens / kQuantiseMultiple * kQuantiseMultiple, .columns = columns, .stride = columns};
}

// Two codes stand for one bf16, which is finite and compared as such: no finite code has a high byte of 0x7f.
fp8_e4m3* codes_of(KernelBuffers& b, int64_t count) { return reinterpret_cast<fp8_e4m3*>(b.output<bf16>(count / 2)); }

}  // namespace

template <class T>
std::vector<KernelCase> pointwise_cases() {
  using B = KernelBuffers;
  using S = KernelSizes;
  return {
      {"gated_forward, silu",
       [](B& b, const S& s) {
         return kernel_launch(b.ctx(), gated_forward_cpu<T>, gated_forward_cuda<T>, b.output<T>(s.tokens * s.ffn),
                              b.input<T>(2 * s.tokens * s.ffn), Activation::silu, GatedShape{s.tokens, s.ffn});
       }},
      {"gated_backward, silu",
       [](B& b, const S& s) {
         return kernel_launch(b.ctx(), gated_backward_cpu<T>, gated_backward_cuda<T>, b.output<T>(2 * s.tokens * s.ffn),
                              b.input<T>(s.tokens * s.ffn), b.input<T>(2 * s.tokens * s.ffn), Activation::silu,
                              GatedShape{s.tokens, s.ffn});
       }},
      {"activation_forward, gelu_tanh",
       [](B& b, const S& s) {
         const int64_t n = s.tokens * s.ffn;
         return kernel_launch(b.ctx(), activation_forward_cpu<T>, activation_forward_cuda<T>, b.output<T>(n),
                              b.input<T>(n), Activation::gelu_tanh, n);
       }},
      {"activation_backward, gelu_tanh",
       [](B& b, const S& s) {
         const int64_t n = s.tokens * s.ffn;
         return kernel_launch(b.ctx(), activation_backward_cpu<T>, activation_backward_cuda<T>, b.output<T>(n),
                              b.input<T>(n), b.input<T>(n), Activation::gelu_tanh, n);
       }},
      {"amax",
       [](B& b, const S& s) {
         const QuantiseShape shape = quantise_shape_of(s);
         return kernel_launch(b.ctx(), amax_cpu, amax_cuda, b.output<float>(kAmaxParts), b.input<bf16>(shape.rows * shape.columns), shape);
       }},
      {"quantise, by rows and columns",
       [](B& b, const S& s) {
         const QuantiseShape shape = quantise_shape_of(s);
         const int64_t n = shape.rows * shape.columns;
         return kernel_launch(b.ctx(), quantise_cpu<fp8_e4m3>, quantise_cuda<fp8_e4m3>, codes_of(b, n), codes_of(b, n), b.output<float>(1), b.input<bf16>(n),
                              b.input<float>(kAmaxParts, B::Draw::uniform), shape);
       }},
      {"rope",
       [](B& b, const S& s) {
         const int64_t half = s.head_size / 2, q_width = s.heads * s.head_size, k_width = s.groups * s.head_size;
         return kernel_launch(b.ctx(), rope_cpu<T>, rope_cuda<T>, b.in_out<T>(s.tokens * q_width),
                              b.in_out<T>(s.tokens * k_width), b.values(positions_of(s)),
                              b.input<float>(s.seq_length * half), b.input<float>(s.seq_length * half),
                              RopeShape{.tokens = s.tokens,
                                        .q_heads = s.heads,
                                        .k_heads = s.groups,
                                        .head_size = s.head_size,
                                        .rotary_size = s.head_size,
                                        .q_stride = q_width,
                                        .k_stride = k_width});
       }},
      {"add",
       [](B& b, const S& s) {
         const int64_t n = s.tokens * s.hidden;
         return kernel_launch(b.ctx(), add_cpu<T>, add_cuda<T>, b.output<T>(n), b.input<T>(n), b.input<T>(n), n);
       }},
      {"convert, fp32 to bf16",
       [](B& b, const S& s) {
         return kernel_launch(b.ctx(), convert_cpu<bf16, float>, convert_cuda<bf16, float>, b.output<bf16>(s.elements),
                              b.input<float>(s.elements), s.elements);
       }},
      {"convert, bf16 to fp32",
       [](B& b, const S& s) {
         return kernel_launch(b.ctx(), convert_cpu<float, bf16>, convert_cuda<float, bf16>, b.output<float>(s.elements),
                              b.input<bf16>(s.elements), s.elements);
       }},
      {"copy_columns",
       [](B& b, const S& s) {
         const int64_t n = s.tokens * s.hidden;
         return kernel_launch(b.ctx(), copy_columns_cpu, copy_columns_cuda, static_cast<void*>(b.output<T>(n)),
                              static_cast<const void*>(b.input<T>(n)),
                              ColumnsShape{.rows = s.tokens,
                                           .columns = s.hidden,
                                           .to_stride = s.hidden,
                                           .from_stride = s.hidden,
                                           .element_bytes = sizeof(T)});
       }},
      {"bias_grad",
       [](B& b, const S& s) {
         return kernel_launch(b.ctx(), bias_grad_cpu<T, float>, bias_grad_cuda<T, float>, b.output<float>(s.ffn), false,
                              b.input<T>(s.tokens * s.ffn),
                              BiasShape{.rows = s.tokens, .columns = s.ffn, .stride = s.ffn},
                              b.scratch<float>(kBiasRowBlocks * s.ffn));
       }},
      {"dropout",
       [](B& b, const S& s) {
         const int64_t n = s.tokens * s.hidden;
         return kernel_launch(b.ctx(), dropout_cpu<T>, dropout_cuda<T>, b.output<T>(n), b.input<T>(n),
                              b.values(token_ids_of(s)), RandomKey{1, 2}, static_cast<const StepState*>(b.step_state()),
                              DropoutShape{.rows = s.tokens, .columns = s.hidden, .rate = 0.1f});
       }},
  };
}

template std::vector<KernelCase> pointwise_cases<float>();
template std::vector<KernelCase> pointwise_cases<bf16>();

}  // namespace nemo
