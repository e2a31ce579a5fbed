#include "kernels/attention/attention.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/base/fast_math.h"
#include "kernels/base/parallel_for.h"

namespace nemo::kernels {
namespace {

// One segment's queries and keys, and which keys a query sees.
struct Segment {
  int64_t q_begin, q_length, k_begin, k_length;
  const AttentionShape& shape;

  Segment(const AttentionSegments& s, const AttentionShape& shape, int64_t i)
      : q_begin(s.q_begin[i]), q_length(s.q_end[i] - q_begin), k_begin(s.k_begin[i]), k_length(s.k_end[i] - k_begin), shape(shape) {}
  int64_t position(int64_t query) const { return query + k_length - q_length; }
  int64_t first_key(int64_t query) const {
    return shape.window > 0 ? std::clamp<int64_t>(position(query) - shape.window + 1, 0, k_length) : 0;
  }
  int64_t end_key(int64_t query) const { return shape.causal ? std::clamp<int64_t>(position(query) + 1, 0, k_length) : k_length; }
};

uint64_t dropout_index(int64_t token_id, const AttentionShape& shape, int64_t head, int64_t key) {
  const int64_t total = shape.total_heads == 0 ? shape.num_heads : shape.total_heads;
  return (static_cast<uint64_t>(token_id * total + shape.first_head + head) << 20) + static_cast<uint64_t>(key);
}

template <class T>
float dot(const T* a, const T* b, int64_t count) {
  float sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += static_cast<float>(a[i]) * static_cast<float>(b[i]);
  return sum;
}

}  // namespace

template <class T>
void attention_forward_cpu(T* out, float* lse, const T* q, const T* k, const T* v, const AttentionSegments& segments,
                           const AttentionShape& shape, const AttentionDropout& dropout) {
  const int64_t D = shape.head_size, heads_per_group = shape.num_heads / shape.num_groups;
  parallel_for(shape.num_segments * shape.num_heads, 1, [&](int64_t item, int64_t) {
    const int64_t head = item % shape.num_heads, group = head / heads_per_group;
    const Segment seg(segments, shape, item / shape.num_heads);
    std::vector<float> p(seg.k_length), sum(D);
    for (int64_t i = 0; i < seg.q_length; ++i) {
      const int64_t token = seg.q_begin + i, first = seg.first_key(i), end = seg.end_key(i);
      float largest = -INFINITY, total = 0;
      for (int64_t j = first; j < end; ++j) {
        p[j] = shape.scale * dot(q + token * shape.q_stride + head * D, k + (seg.k_begin + j) * shape.k_stride + group * D, D);
        if (shape.softcap > 0) p[j] = shape.softcap * fast_tanh(p[j] / shape.softcap);
        largest = std::max(largest, p[j]);
      }
      for (int64_t j = first; j < end; ++j) total += p[j] = fast_exp(p[j] - largest);
      std::fill(sum.begin(), sum.end(), 0.0f);
      for (int64_t j = first; j < end; ++j) {
        float weight = p[j] / total;
        if (shape.dropout > 0)
          weight = uniform(philox(dropout.key, dropout.state->step, dropout_index(dropout.token_ids[token], shape, head, j)).x) < shape.dropout
                       ? 0.0f
                       : weight / (1.0f - shape.dropout);
        const T* row = v + (seg.k_begin + j) * shape.v_stride + group * D;
        for (int64_t d = 0; d < D; ++d) sum[d] += weight * static_cast<float>(row[d]);
      }
      for (int64_t d = 0; d < D; ++d) out[token * shape.out_stride + head * D + d] = static_cast<T>(sum[d]);
      lse[head * shape.query_tokens + token] = largest + std::log(total);
    }
  });
}

template <class T>
void attention_backward_cpu(T* dq, T* dk, T* dv, const T* dout, const T* q, const T* k, const T* v, const T* out, const float* lse,
                            float* delta, const AttentionSegments& segments, const AttentionShape& shape,
                            const AttentionGradStrides& strides, const AttentionDropout& dropout) {
  const int64_t D = shape.head_size, heads_per_group = shape.num_heads / shape.num_groups;
  parallel_for(shape.num_segments * shape.num_groups, 1, [&](int64_t item, int64_t) {
    const int64_t group = item % shape.num_groups;
    const Segment seg(segments, shape, item / shape.num_groups);
    std::vector<float> sum_k(seg.k_length * D), sum_v(seg.k_length * D), sum_q(D);
    for (int64_t head = group * heads_per_group; head < (group + 1) * heads_per_group; ++head) {
      for (int64_t i = 0; i < seg.q_length; ++i) {
        const int64_t token = seg.q_begin + i;
        const T *q_row = q + token * shape.q_stride + head * D, *g_row = dout + token * strides.dout_stride + head * D;
        const float row_delta = dot(g_row, out + token * shape.out_stride + head * D, D);
        delta[head * shape.query_tokens + token] = row_delta;
        std::fill(sum_q.begin(), sum_q.end(), 0.0f);
        for (int64_t j = seg.first_key(i); j < seg.end_key(i); ++j) {
          const T *k_row = k + (seg.k_begin + j) * shape.k_stride + group * D, *v_row = v + (seg.k_begin + j) * shape.v_stride + group * D;
          float score = shape.scale * dot(q_row, k_row, D), slope = shape.scale;
          if (shape.softcap > 0) {
            const float capped = fast_tanh(score / shape.softcap);
            score = shape.softcap * capped;
            slope *= 1.0f - capped * capped;
          }
          const float p = fast_exp(score - lse[head * shape.query_tokens + token]);
          float keep = 1.0f;
          if (shape.dropout > 0)
            keep = uniform(philox(dropout.key, dropout.state->step, dropout_index(dropout.token_ids[token], shape, head, j)).x) < shape.dropout
                       ? 0.0f
                       : 1.0f / (1.0f - shape.dropout);
          const float ds = p * (keep * dot(g_row, v_row, D) - row_delta) * slope;
          for (int64_t d = 0; d < D; ++d) {
            sum_v[j * D + d] += p * keep * static_cast<float>(g_row[d]);
            sum_k[j * D + d] += ds * static_cast<float>(q_row[d]);
            sum_q[d] += ds * static_cast<float>(k_row[d]);
          }
        }
        for (int64_t d = 0; d < D; ++d) dq[token * strides.dq_stride + head * D + d] = static_cast<T>(sum_q[d]);
      }
    }
    for (int64_t j = 0; j < seg.k_length; ++j) {
      for (int64_t d = 0; d < D; ++d) {
        dk[(seg.k_begin + j) * strides.dk_stride + group * D + d] = static_cast<T>(sum_k[j * D + d]);
        dv[(seg.k_begin + j) * strides.dv_stride + group * D + d] = static_cast<T>(sum_v[j * D + d]);
      }
    }
  });
}

#define NEMO_INSTANTIATE(T)                                                                                                     \
  template void attention_forward_cpu(T*, float*, const T*, const T*, const T*, const AttentionSegments&, const AttentionShape&, \
                                      const AttentionDropout&);                                                                 \
  template void attention_backward_cpu(T*, T*, T*, const T*, const T*, const T*, const T*, const T*, const float*, float*,      \
                                       const AttentionSegments&, const AttentionShape&, const AttentionGradStrides&,            \
                                       const AttentionDropout&);
NEMO_INSTANTIATE(float)
NEMO_INSTANTIATE(bf16)
#undef NEMO_INSTANTIATE

}  // namespace nemo::kernels
