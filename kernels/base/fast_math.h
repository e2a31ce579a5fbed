// exp, tanh, sigmoid, log, cos as plain fp32 arithmetic without branches or tables, so that loops over them vectorise.
// Not here: the CUDA side, which has its own instructions for them.
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>

namespace nemo::kernels {

// Relative error against fp64 is at most 2e-7 in the range stated at each function. NaN stays NaN, so a diverged model
// shows it. std::fma, not a * b + c: the CPU kernels are compiled with -fassociative-math, which may not regroup it.

// x = n ln 2 + r with |r| <= ln 2 / 2: gives p = e^r - 1 (Taylor series) and 2^n. ln 2 is taken in two parts, so that
// n ln 2 carries no rounding (Cody & Waite 1980, "Software Manual for the Elementary Functions"). -126 <= n <= 127.
struct ExpParts { float p, two_to_n; };
inline ExpParts exp_parts(float x) {
  const float n = std::nearbyint(x * 1.44269504088896341f);
  const float r = std::fma(n, 1.904654299957768e-9f, std::fma(n, -0.693147182464599609375f, x));
  float q = 1.9841269841e-4f;
  q = std::fma(q, r, 1.3888888889e-3f);
  q = std::fma(q, r, 8.3333333333e-3f);
  q = std::fma(q, r, 4.1666666667e-2f);
  q = std::fma(q, r, 1.6666666667e-1f);
  q = std::fma(q, r, 0.5f);
  return {std::fma(q * r, r, r), std::bit_cast<float>((static_cast<int32_t>(n) + 127) << 23)};
}

// e^x: 0 below -87, infinity above 88 (the exact overflow is at 88.7).
inline float fast_exp(float x) {
  float bounded = x < -87.0f ? -87.0f : x;
  bounded = bounded > 88.0f ? 88.0f : bounded;
  const ExpParts e = exp_parts(bounded);
  const float y = std::fma(e.p, e.two_to_n, e.two_to_n);
  return x < -87.0f ? 0.0f : (x > 88.0f ? INFINITY : y);
}

// 1 / (1 + e^-x)
inline float fast_sigmoid(float x) { return 1.0f / (1.0f + fast_exp(-x)); }

// tanh |x| = (e^2|x| - 1) / (e^2|x| + 1), from e^2|x| - 1 itself so that small x keeps its digits; 1 from |x| = 10.
inline float fast_tanh(float x) {
  const float magnitude = std::fabs(x);
  const ExpParts e = exp_parts(magnitude > 10.0f ? 20.0f : 2.0f * magnitude);
  const float expm1 = std::fma(e.p, e.two_to_n, e.two_to_n - 1.0f);
  return std::copysign(expm1 / (expm1 + 2.0f), x);
}

// ln x for normal x > 0: x = 2^n (1 + f), 1 + f in [sqrt(1/2), sqrt(2)), ln(1 + f) = 2 artanh(f / (2 + f)).
inline float fast_log(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x) - 0x3f3504f3u;
  const float n = static_cast<float>(static_cast<int32_t>(bits) >> 23);
  const float f = std::bit_cast<float>((bits & 0x007fffffu) + 0x3f3504f3u) - 1.0f;
  const float s = f / (2.0f + f), s2 = s * s;
  float q = 0.22222222f;
  q = std::fma(q, s2, 0.28571429f);
  q = std::fma(q, s2, 0.4f);
  q = std::fma(q, s2, 0.66666667f);
  // 2 artanh(s) = 2 s + s^3 q with 2 s = f - s f: f is exact, the rest is small against it.
  const float small = std::fma(s, s2 * q - f, n * -1.904654299957768e-9f);
  return std::fma(n, 0.693147182464599609375f, f + small);
}

// cos(2 pi u) for u in [0, 1], by quarter turns: u = k / 4 + t, |t| <= 1/8, exactly. Error 2e-7 absolute (it has zeros).
inline float fast_cos_turns(float u) {
  const float k = std::nearbyint(4.0f * u), a = 6.28318530717958647692f * std::fma(k, -0.25f, u), a2 = a * a;
  float sine = 2.7557319e-6f;
  sine = std::fma(sine, a2, -1.9841270e-4f);
  sine = std::fma(sine, a2, 8.3333333e-3f);
  sine = std::fma(sine, a2, -1.6666667e-1f);
  sine = std::fma(sine * a2, a, a);
  float cosine = 2.4801587e-5f;
  cosine = std::fma(cosine, a2, -1.3888889e-3f);
  cosine = std::fma(cosine, a2, 4.1666667e-2f);
  cosine = std::fma(cosine, a2, -0.5f);
  cosine = std::fma(cosine, a2, 1.0f);
  const int32_t quarter = static_cast<int32_t>(k) & 3;
  const float magnitude = quarter & 1 ? sine : cosine;
  return quarter == 1 || quarter == 2 ? -magnitude : magnitude;
}

}  // namespace nemo::kernels
