#include "kernels/norm/layer_norm.h"

#include <algorithm>
#include <cmath>

#include "kernels/base/parallel_for.h"

namespace nemo::kernels {
namespace {

// Rows per chunk such that small inputs stay on one thread.
int64_t row_grain(int64_t hidden) { return std::max<int64_t>(1, 16384 / std::max<int64_t>(1, hidden)); }

}  // namespace

template <class T>
void layer_norm_forward_cpu(T* y, T* sum, float* mean, float* rstd, const T* x, const T* branch, const T* weight, const T* bias,
                            LayerNormSize size, float eps) {
  const int64_t hidden = size.hidden;
  parallel_for(size.rows, row_grain(hidden), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const T* s = x + r * hidden;
      if (branch != nullptr) {
        const T* b = branch + r * hidden;
        T* out = sum + r * hidden;
        for (int64_t h = 0; h < hidden; ++h) out[h] = static_cast<T>(static_cast<float>(s[h]) + static_cast<float>(b[h]));
        s = out;
      }
      float total = 0, square = 0;
      for (int64_t h = 0; h < hidden; ++h) total += static_cast<float>(s[h]);
      const float mu = total / static_cast<float>(hidden);
      for (int64_t h = 0; h < hidden; ++h) {
        const float d = static_cast<float>(s[h]) - mu;
        square += d * d;
      }
      const float scale = 1.0f / std::sqrt(square / static_cast<float>(hidden) + eps);
      T* out = y + r * hidden;
      for (int64_t h = 0; h < hidden; ++h) {
        const float shat = (static_cast<float>(s[h]) - mu) * scale;
        out[h] = static_cast<T>(shat * static_cast<float>(weight[h]) + static_cast<float>(bias[h]));
      }
      mean[r] = mu;
      rstd[r] = scale;
    }
  });
}

namespace {

template <class T>
void backward_input(T* dx, const T* dy, const T* dsum, const T* s, const float* mean, const float* rstd, const T* weight,
                    LayerNormSize size) {
  const int64_t hidden = size.hidden;
  parallel_for(size.rows, row_grain(hidden), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const T *g = dy + r * hidden, *x = s + r * hidden;
      const float mu = mean[r], scale = rstd[r];
      float total = 0, projection = 0;  // sums of w dy and of w dy s_hat
      for (int64_t h = 0; h < hidden; ++h) {
        const float wdy = static_cast<float>(weight[h]) * static_cast<float>(g[h]);
        total += wdy;
        projection += wdy * ((static_cast<float>(x[h]) - mu) * scale);
      }
      total /= static_cast<float>(hidden);
      projection /= static_cast<float>(hidden);
      T* out = dx + r * hidden;
      const T* residual = dsum == nullptr ? nullptr : dsum + r * hidden;
      for (int64_t h = 0; h < hidden; ++h) {
        const float wdy = static_cast<float>(weight[h]) * static_cast<float>(g[h]);
        const float shat = (static_cast<float>(x[h]) - mu) * scale;
        float d = scale * (wdy - total - shat * projection);
        if (residual != nullptr) d += static_cast<float>(residual[h]);
        out[h] = static_cast<T>(d);
      }
    }
  });
}

template <class T, class Grad>
void backward_weight(Grad* dweight, bool accumulate_weight, Grad* dbias, bool accumulate_bias, const T* dy, const T* s,
                     const float* mean, const float* rstd, LayerNormSize size, float* scratch) {
  // Row blocks first, each into its own rows of the scratch (weight, then bias); then the blocks in order.
  const int64_t hidden = size.hidden;
  const int64_t block_rows = std::max<int64_t>(64, (size.rows + norm_row_blocks(hidden) - 1) / norm_row_blocks(hidden));
  const int64_t num_blocks = (size.rows + block_rows - 1) / block_rows;
  parallel_for(num_blocks, std::max<int64_t>(1, row_grain(hidden) / block_rows), [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      float *w = scratch + 2 * block * hidden, *b = w + hidden;
      std::fill(w, w + 2 * hidden, 0.0f);
      for (int64_t r = block * block_rows; r < std::min(size.rows, (block + 1) * block_rows); ++r) {
        const T *g = dy + r * hidden, *x = s + r * hidden;
        const float mu = mean[r], scale = rstd[r];
        for (int64_t h = 0; h < hidden; ++h) {
          w[h] += static_cast<float>(g[h]) * ((static_cast<float>(x[h]) - mu) * scale);
          b[h] += static_cast<float>(g[h]);
        }
      }
    }
  });
  for (int64_t h = 0; h < hidden; ++h) {
    float w = 0, b = 0;
    for (int64_t block = 0; block < num_blocks; ++block) {
      w += scratch[2 * block * hidden + h];
      b += scratch[(2 * block + 1) * hidden + h];
    }
    if (dweight != nullptr) dweight[h] = static_cast<Grad>(accumulate_weight ? static_cast<float>(dweight[h]) + w : w);
    if (dbias != nullptr) dbias[h] = static_cast<Grad>(accumulate_bias ? static_cast<float>(dbias[h]) + b : b);
  }
}

}  // namespace

template <class T, class Grad>
void layer_norm_backward_cpu(T* dx, Grad* dweight, bool accumulate_weight, Grad* dbias, bool accumulate_bias, const T* dy,
                             const T* dsum, const T* s, const float* mean, const float* rstd, const T* weight, LayerNormSize size,
                             float* scratch) {
  if (dweight != nullptr || dbias != nullptr)  // first: dx may be dy
    backward_weight(dweight, accumulate_weight, dbias, accumulate_bias, dy, s, mean, rstd, size, scratch);
  if (dx != nullptr) backward_input(dx, dy, dsum, s, mean, rstd, weight, size);
}

#define NEMO_INSTANTIATE(T)                                                                                               \
  template void layer_norm_forward_cpu(T*, T*, float*, float*, const T*, const T*, const T*, const T*, LayerNormSize,    \
                                       float);                                                                            \
  template void layer_norm_backward_cpu(T*, float*, bool, float*, bool, const T*, const T*, const T*, const float*,      \
                                        const float*, const T*, LayerNormSize, float*);                                   \
  template void layer_norm_backward_cpu(T*, bf16*, bool, bf16*, bool, const T*, const T*, const T*, const float*,        \
                                        const float*, const T*, LayerNormSize, float*);
NEMO_INSTANTIATE(float)
NEMO_INSTANTIATE(bf16)
#undef NEMO_INSTANTIATE

}  // namespace nemo::kernels
