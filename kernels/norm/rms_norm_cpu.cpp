#include "kernels/norm/rms_norm.h"

#include <algorithm>
#include <cmath>

#include "kernels/base/parallel_for.h"

namespace nemo::kernels {
namespace {

int64_t row_grain(int64_t hidden) { return std::max<int64_t>(1, 16384 / std::max<int64_t>(1, hidden)); }

// Where row r starts: head r % heads of token r / heads.
struct Rows {
  int64_t heads, hidden, stride;
  Rows(const RmsNormSize& size, int64_t token_stride)
      : heads(size.heads), hidden(size.hidden), stride(token_stride == 0 ? size.heads * size.hidden : token_stride) {}
  int64_t operator()(int64_t r) const { return heads == 1 ? r * stride : r / heads * stride + r % heads * hidden; }
};

}  // namespace

template <class T>
void rms_norm_forward_cpu(T* y, T* sum, float* rstd, const T* x, const T* branch, const T* weight, RmsNormSize size, float eps) {
  const int64_t hidden = size.hidden;
  const Rows x_row(size, size.x_stride), y_row(size, size.y_stride);
  parallel_for(size.rows, row_grain(hidden), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const T* s = x + x_row(r);
      if (branch != nullptr) {
        const T* b = branch + x_row(r);
        T* out = sum + x_row(r);
        for (int64_t h = 0; h < hidden; ++h) out[h] = static_cast<T>(static_cast<float>(s[h]) + static_cast<float>(b[h]));
        s = out;
      }
      float square = 0;
      for (int64_t h = 0; h < hidden; ++h) square += static_cast<float>(s[h]) * static_cast<float>(s[h]);
      const float scale = 1.0f / std::sqrt(square / static_cast<float>(hidden) + eps);
      T* out = y + y_row(r);
      for (int64_t h = 0; h < hidden; ++h) out[h] = static_cast<T>(static_cast<float>(s[h]) * scale * static_cast<float>(weight[h]));
      rstd[r] = scale;
    }
  });
}

namespace {

template <class T>
void backward_input(T* dx, const T* dy, const T* dsum, const T* s, const float* rstd, const T* weight, RmsNormSize size) {
  const int64_t hidden = size.hidden;
  const Rows x_row(size, size.x_stride), dx_row(size, size.dx_stride), dy_row(size, size.dy_stride);
  parallel_for(size.rows, row_grain(hidden), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const T *g = dy + dy_row(r), *row = s + x_row(r);
      const float scale = rstd[r];
      float projection = 0;  // sum of w dy s_hat
      for (int64_t h = 0; h < hidden; ++h)
        projection += static_cast<float>(weight[h]) * static_cast<float>(g[h]) * (static_cast<float>(row[h]) * scale);
      projection /= static_cast<float>(hidden);
      T* out = dx + dx_row(r);
      const T* residual = dsum == nullptr ? nullptr : dsum + dx_row(r);
      for (int64_t h = 0; h < hidden; ++h) {
        const float wdy = static_cast<float>(weight[h]) * static_cast<float>(g[h]);
        float d = scale * (wdy - static_cast<float>(row[h]) * scale * projection);
        if (residual != nullptr) d += static_cast<float>(residual[h]);
        out[h] = static_cast<T>(d);
      }
    }
  });
}

template <class T, class Grad>
void backward_weight(Grad* dweight, bool accumulate, const T* dy, const T* s, const float* rstd, RmsNormSize size,
                     float* scratch) {
  const int64_t hidden = size.hidden;
  const Rows x_row(size, size.x_stride), dy_row(size, size.dy_stride);
  const int64_t block_rows = std::max<int64_t>(64, (size.rows + norm_row_blocks(hidden) - 1) / norm_row_blocks(hidden));
  const int64_t num_blocks = (size.rows + block_rows - 1) / block_rows;
  parallel_for(num_blocks, std::max<int64_t>(1, row_grain(hidden) / block_rows), [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      float* w = scratch + block * hidden;
      std::fill(w, w + hidden, 0.0f);
      for (int64_t r = block * block_rows; r < std::min(size.rows, (block + 1) * block_rows); ++r) {
        const T *g = dy + dy_row(r), *row = s + x_row(r);
        const float scale = rstd[r];
        for (int64_t h = 0; h < hidden; ++h) w[h] += static_cast<float>(g[h]) * (static_cast<float>(row[h]) * scale);
      }
    }
  });
  for (int64_t h = 0; h < hidden; ++h) {
    float w = 0;
    for (int64_t block = 0; block < num_blocks; ++block) w += scratch[block * hidden + h];
    dweight[h] = static_cast<Grad>(accumulate ? static_cast<float>(dweight[h]) + w : w);
  }
}

}  // namespace

template <class T, class Grad>
void rms_norm_backward_cpu(T* dx, Grad* dweight, bool accumulate, const T* dy, const T* dsum, const T* s, const float* rstd,
                           const T* weight, RmsNormSize size, float* scratch) {
  if (dweight != nullptr) backward_weight(dweight, accumulate, dy, s, rstd, size, scratch);  // first: dx may be dy
  if (dx != nullptr) backward_input(dx, dy, dsum, s, rstd, weight, size);
}

#define NEMO_INSTANTIATE(T)                                                                                        \
  template void rms_norm_forward_cpu(T*, T*, float*, const T*, const T*, const T*, RmsNormSize, float);            \
  template void rms_norm_backward_cpu(T*, float*, bool, const T*, const T*, const T*, const float*, const T*,      \
                                      RmsNormSize, float*);                                                        \
  template void rms_norm_backward_cpu(T*, bf16*, bool, const T*, const T*, const T*, const float*, const T*,       \
                                      RmsNormSize, float*);
NEMO_INSTANTIATE(float)
NEMO_INSTANTIATE(bf16)
#undef NEMO_INSTANTIATE

}  // namespace nemo::kernels
