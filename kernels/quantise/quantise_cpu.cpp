#include <algorithm>
#include <bit>

#include "kernels/base/parallel_for.h"
#include "kernels/quantise/quantise.h"

namespace nemo::kernels {

void amax_cpu(float* parts, const bf16* x, QuantiseShape shape) {
  const int64_t count = shape.rows * shape.columns;
  parallel_for(kAmaxParts, 1, [&](int64_t part, int64_t) {
    uint16_t largest = 0;  // as bits: with the sign gone they order like the numbers, and NaN lies above infinity
    for (int64_t chunk = part * kAmaxChunk; chunk < count; chunk += int64_t{kAmaxParts} * kAmaxChunk)
      for (int64_t i = chunk; i < std::min(count, chunk + kAmaxChunk); ++i)
        largest = std::max<uint16_t>(largest, x[i / shape.columns * shape.stride + i % shape.columns].bits & 0x7fffu);
    parts[part] = std::bit_cast<float>(static_cast<uint32_t>(largest) << 16);
  });
}

template <class Float>
void quantise_cpu(Float* payload, Float* transposed, float* scale, const bf16* x, const float* parts,
                  QuantiseShape shape) {
  uint32_t amax = 0;
  for (int part = 0; part < kAmaxParts; ++part) amax = std::max(amax, std::bit_cast<uint32_t>(parts[part]));
  const Fp8Scale chosen = fp8_scale<Float>(std::bit_cast<float>(amax));
  *scale = chosen.scale;
  parallel_for(shape.rows, 16, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row)
      for (int64_t column = 0; column < shape.columns; ++column) {
        const Float code(x[row * shape.stride + column] * chosen.multiplier);
        if (payload != nullptr) payload[row * shape.columns + column] = code;
        if (transposed != nullptr) transposed[column * shape.rows + row] = code;
      }
  });
}

template void quantise_cpu(fp8_e4m3*, fp8_e4m3*, float*, const bf16*, const float*, QuantiseShape);
template void quantise_cpu(fp8_e5m2*, fp8_e5m2*, float*, const bf16*, const float*, QuantiseShape);

}  // namespace nemo::kernels
