// A table: attention kernels, own and cuDNN's, and what each reads and writes.
#include <cmath>
#include <type_traits>

#include "kernels/attention/attention.h"
#include "kernels/attention/attention_cudnn.h"
#include "recipes/bench/kernel_case.h"

namespace nemo {
namespace {

using namespace kernels;

// Causal sequences of equal length; q, k and v are columns of one packed projection, as in a step.
struct Packed {
  int64_t q, kv, row;  // widths of q, of k or v, and of all three
  explicit Packed(const KernelSizes& s) : q(s.heads * s.head_size), kv(s.groups * s.head_size), row(q + 2 * kv) {}
};

AttentionShape shape_of(const KernelSizes& s) {
  const Packed packed(s);
  return {.num_segments = s.tokens / s.seq_length,
          .query_tokens = s.tokens,
          .key_tokens = s.tokens,
          .max_query_length = s.seq_length,
          .max_key_length = s.seq_length,
          .num_heads = s.heads,
          .num_groups = s.groups,
          .head_size = s.head_size,
          .q_stride = packed.row,
          .k_stride = packed.row,
          .v_stride = packed.row,
          .out_stride = packed.q,
          .scale = 1.0f / std::sqrt(static_cast<float>(s.head_size)),
          .causal = true};
}

AttentionGradStrides strides_of(const KernelSizes& s) {
  const Packed packed(s);
  return {.dout_stride = packed.q, .dq_stride = packed.row, .dk_stride = packed.row, .dv_stride = packed.row};
}

AttentionSegments segments_of(KernelBuffers& b, const KernelSizes& s) {
  std::vector<int32_t> begin, end;
  for (int64_t first = 0; first < s.tokens; first += s.seq_length) {
    begin.push_back(static_cast<int32_t>(first));
    end.push_back(static_cast<int32_t>(first + s.seq_length));
  }
  const int32_t *const begins = b.values(begin), *const ends = b.values(end);
  return {begins, ends, begins, ends};
}

// Products of forward: scores and values, half of each under the causal mask. Backward: five products of that size.
double forward_flops(const KernelSizes& s) {
  return 2.0 * static_cast<double>(s.tokens * s.heads * s.head_size) * static_cast<double>(s.seq_length + 1);
}
double backward_flops(const KernelSizes& s) {
  return 2.5 * forward_flops(s);
}

enum class Engine { own, library };

constexpr size_t kLibraryWorkspaceBytes = size_t{1} << 30;

// The library's handle and room to work, where it serves these sizes; a null engine else.
struct Library {
  CudnnAttention* engine = nullptr;
  void* workspace = nullptr;
};
Library library_for(KernelBuffers& b, const KernelSizes& s) {
  ExecContext& ctx = b.ctx();
  if (!ctx.device().is_cuda()) return {};
  CudnnAttention& engine = ctx.runtime().cudnn_attention();
  if (!cudnn_attention_plan(engine, shape_of(s), strides_of(s), true, false, {kLibraryWorkspaceBytes, kLibraryWorkspaceBytes})) return {};
  return {&engine, b.scratch_bytes(kLibraryWorkspaceBytes)};
}

// Fills out and lse; on a GPU by the engine asked for. Empty where the library does not serve.
template <class T, Engine kEngine>
KernelLaunch forward_launch(KernelBuffers& b, const KernelSizes& s, T* out, float* lse, const T* packed) {
  ExecContext& ctx = b.ctx();
  const AttentionShape shape = shape_of(s);
  const AttentionSegments segments = segments_of(b, s);
  const Packed at(s);
  const Library library = kEngine == Engine::library ? library_for(b, s) : Library{};
  if (kEngine == Engine::library && ctx.device().is_cuda() && library.engine == nullptr) return {};
  return [=, &ctx] {
    launch(
        ctx, "bench",
        [&] { attention_forward_cpu(out, lse, packed, packed + at.q, packed + at.q + at.kv, segments, shape, {}); },
        [&] {
          if constexpr (kEngine == Engine::library) {
            cudnn_attention_forward(*library.engine, out, lse, packed, packed + at.q, packed + at.q + at.kv, shape,
                                    library.workspace, ctx.stream());
          } else {
            attention_forward_cuda(out, lse, packed, packed + at.q, packed + at.q + at.kv, segments, shape, {},
                                   ctx.stream());
          }
        });
  };
}

template <class T, Engine kEngine>
KernelLaunch forward_case(KernelBuffers& b, const KernelSizes& s) {
  const Packed at(s);
  T* const out = b.output<T>(s.tokens * at.q);
  // The library's order of lse is its own, so it is not compared there.
  float* const lse =
      kEngine == Engine::library ? b.scratch<float>(s.tokens * s.heads) : b.output<float>(s.tokens * s.heads);
  return forward_launch<T, kEngine>(b, s, out, lse, b.input<T>(s.tokens * at.row));
}

template <class T, Engine kEngine>
KernelLaunch backward_case(KernelBuffers& b, const KernelSizes& s) {
  ExecContext& ctx = b.ctx();
  const Packed at(s);
  T* const gradients = b.output<T>(s.tokens * at.row);
  const T *const packed = b.input<T>(s.tokens * at.row), *const dout = b.input<T>(s.tokens * at.q);
  T* const out = b.scratch<T>(s.tokens * at.q);
  float *const lse = b.scratch<float>(s.tokens * s.heads), *const delta = b.scratch<float>(s.tokens * s.heads);
  const KernelLaunch forward = forward_launch<T, kEngine>(b, s, out, lse, packed);
  if (!forward) return {};
  forward();
  const AttentionShape shape = shape_of(s);
  const AttentionGradStrides strides = strides_of(s);
  const AttentionSegments segments = segments_of(b, s);
  const Library library = kEngine == Engine::library ? library_for(b, s) : Library{};
  return [=, &ctx] {
    T *const dq = gradients, *const dk = dq + at.q, *const dv = dk + at.kv;
    const T *const q = packed, *const k = q + at.q, *const v = k + at.kv;
    launch(
        ctx, "bench",
        [&] {
          attention_backward_cpu(dq, dk, dv, dout, q, k, v, static_cast<const T*>(out), lse, delta, segments, shape,
                                 strides, {});
        },
        [&] {
          if constexpr (kEngine == Engine::library) {
            cudnn_attention_backward(*library.engine, dq, dk, dv, dout, q, k, v, out, lse, shape, strides, false,
                                     library.workspace, ctx.stream());
          } else {
            attention_backward_cuda(dq, dk, dv, dout, q, k, v, static_cast<const T*>(out), lse, delta, segments, shape,
                                    strides, {}, ctx.stream());
          }
        });
  };
}

}  // namespace

template <class T>
std::vector<KernelCase> attention_cases() {
  std::vector<KernelCase> cases;
  if constexpr (std::is_same_v<T, bf16>) {
    cases.push_back({.name = "attention_forward, cuDNN",
                     .make = forward_case<T, Engine::library>,
                     .flops = forward_flops,
                     .cuda_only = true});
    cases.push_back({.name = "attention_backward, cuDNN",
                     .make = backward_case<T, Engine::library>,
                     .flops = backward_flops,
                     .cuda_only = true});
  }
  cases.push_back({.name = "attention_forward, own", .make = forward_case<T, Engine::own>, .flops = forward_flops});
  cases.push_back({.name = "attention_backward, own", .make = backward_case<T, Engine::own>, .flops = backward_flops});
  return cases;
}

template std::vector<KernelCase> attention_cases<float>();
template std::vector<KernelCase> attention_cases<bf16>();

}  // namespace nemo
