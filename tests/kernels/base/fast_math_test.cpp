#include "kernels/base/fast_math.h"

#include <catch2/catch.hpp>
#include <cmath>

using namespace nemo::kernels;

namespace {

// The largest relative error of f against the fp64 function over [low, high], at a step that meets all binades.
template <class Fast, class Exact>
double worst_relative_error(double low, double high, const Fast& fast, const Exact& exact) {
  constexpr int kPoints = 400000;
  double worst = 0;
  for (int i = 0; i <= kPoints; ++i) {
    const auto x = static_cast<float>(low + (high - low) * i / kPoints);
    const double reference = exact(static_cast<double>(x));
    const double difference = std::fabs(static_cast<double>(fast(x)) - reference);
    if (difference != 0) worst = std::max(worst, difference / std::fabs(reference));
    if (std::isnan(difference)) return INFINITY;
  }
  return worst;
}

}  // namespace

TEST_CASE("fast_exp is within 2e-7", "[kernels][fast_math]") {
  const auto exact = [](double x) { return std::exp(x); };
  CHECK(worst_relative_error(-87, 88, fast_exp, exact) <= 2e-7);
  CHECK(worst_relative_error(-1, 1, fast_exp, exact) <= 2e-7);
  CHECK(fast_exp(0.0f) == 1.0f);
  CHECK(fast_exp(-INFINITY) == 0.0f);
  CHECK(fast_exp(-87.5f) == 0.0f);
  CHECK(fast_exp(INFINITY) == INFINITY);
  CHECK(std::isnan(fast_exp(NAN)));
}

TEST_CASE("fast_tanh is within 2e-7, also near zero", "[kernels][fast_math]") {
  const auto exact = [](double x) { return std::tanh(x); };
  CHECK(worst_relative_error(-12, 12, fast_tanh, exact) <= 2e-7);
  CHECK(worst_relative_error(-1e-3, 1e-3, fast_tanh, exact) <= 2e-7);
  CHECK(worst_relative_error(1e-30, 1e-20, fast_tanh, exact) <= 2e-7);
  CHECK(fast_tanh(INFINITY) == 1.0f);
  CHECK(fast_tanh(-INFINITY) == -1.0f);
  CHECK(std::isnan(fast_tanh(NAN)));
}

TEST_CASE("fast_sigmoid is within 3e-7", "[kernels][fast_math]") {  // an exponential, an addition and a division
  CHECK(worst_relative_error(-86, 86, fast_sigmoid, [](double x) { return 1 / (1 + std::exp(-x)); }) <= 3e-7);
  CHECK(fast_sigmoid(-INFINITY) == 0.0f);
  CHECK(fast_sigmoid(INFINITY) == 1.0f);
  CHECK(std::isnan(fast_sigmoid(NAN)));
}

TEST_CASE("fast_log is within 2e-7, also near one", "[kernels][fast_math]") {
  const auto exact = [](double x) { return std::log(x); };
  CHECK(worst_relative_error(1e-6, 1.0 - 1e-3, fast_log, exact) <= 2e-7);
  CHECK(worst_relative_error(1.0 - 1e-3, 1.0 + 1e-3, fast_log, exact) <= 2e-7);
  CHECK(worst_relative_error(1.0, 1e6, fast_log, exact) <= 2e-7);
  CHECK(worst_relative_error(0x1p-126, 0x1p-100, fast_log, exact) <= 2e-7);
  CHECK(fast_log(1.0f) == 0.0f);
}

TEST_CASE("fast_cos_turns is within 2e-7 of the unit circle", "[kernels][fast_math]") {
  double worst = 0;
  for (uint32_t i = 0; i <= 1u << 24; i += 37) {
    const float u = static_cast<float>(i) * 0x1p-24f;
    worst = std::max(worst, std::fabs(static_cast<double>(fast_cos_turns(u)) - std::cos(2 * M_PI * static_cast<double>(u))));
  }
  CHECK(worst <= 2e-7);
  CHECK(fast_cos_turns(0.0f) == 1.0f);
  CHECK(fast_cos_turns(0.5f) == -1.0f);
  CHECK(fast_cos_turns(0.25f) == 0.0f);
}
