#include "kernels/cross_entropy/cross_entropy.h"

#include "tests/kernels/device_array.h"
#include "tests/kernels/threads.h"

using namespace nemo;
using namespace nemo::kernels;
using namespace nemo::testing;

namespace {

struct Reference { std::vector<double> log_prob, lse, dlogits; };

Reference reference(const std::vector<double>& logits, const std::vector<int32_t>& labels, const std::vector<double>& weights,
                    const CrossEntropyShape& shape) {
  Reference out;
  out.dlogits.assign(logits.size(), 0.0);
  for (int64_t r = 0; r < shape.rows; ++r) {
    std::vector<double> capped, slope;
    for (int64_t c = 0; c < shape.classes; ++c) {
      const double raw = logits[r * shape.stride + c], t = shape.softcap > 0 ? std::tanh(raw / shape.softcap) : 0;
      capped.push_back(shape.softcap > 0 ? shape.softcap * t : raw);
      slope.push_back(shape.softcap > 0 ? 1 - t * t : 1);
    }
    const double largest = *std::max_element(capped.begin(), capped.end());
    double sum = 0;
    for (const double logit : capped) sum += std::exp(logit - largest);
    out.lse.push_back(largest + std::log(sum));
    out.log_prob.push_back(labels[r] == kIgnoredLabel ? 0 : capped[labels[r]] - out.lse.back());
    for (int64_t c = 0; c < shape.classes && labels[r] != kIgnoredLabel; ++c)
      out.dlogits[r * shape.stride + c] = weights[r] * ((c == labels[r]) - std::exp(capped[c] - out.lse.back())) * slope[c];
  }
  return out;
}

template <class T>
void check(const TestDevice& device, const CrossEntropyShape& shape) {
  CAPTURE(shape.rows, shape.classes, shape.stride, shape.softcap, name(dtype_of<T>));
  auto logits = random_values<T>(shape.rows * shape.stride, 1, 3.0);
  std::vector<int32_t> labels;
  for (int64_t r = 0; r < shape.rows; ++r) {
    labels.push_back(r % 5 == 3 ? kIgnoredLabel : static_cast<int32_t>(r * 7919 % shape.classes));
    for (int64_t c = shape.classes; c < shape.stride; ++c) logits[r * shape.stride + c] = static_cast<T>(1e4f);  // must take no part
  }
  const auto weights = random_values<float>(shape.rows, 2);
  const auto logits_wide = to_doubles(logits);
  const Reference expected = reference(logits_wide, labels, to_doubles(weights), shape);
  Array<T> logits_in(device, logits);
  Array<int32_t> labels_in(device, labels);
  Array<float> log_prob(device, shape.rows), lse(device, shape.rows), weights_in(device, weights);
  NEMO_LAUNCH(device, cross_entropy_forward, log_prob.data(), lse.data(), logits_in.data(), labels_in.data(), shape);
  check_close<float>(log_prob.values(), expected.log_prob);
  check_close<float>(lse.values(), expected.lse);

  StepState state;
  state.inverse_loss_denominator = 0.125f;
  Array<StepState> state_in(device, std::vector<StepState>{state});
  Array<T> given = Array<T>(device, logits), counted = Array<T>(device, logits);
  NEMO_LAUNCH(device, cross_entropy_backward, given.data(), lse.data(), labels_in.data(), weights_in.data(),
              static_cast<const StepState*>(nullptr), shape);
  check_close<T>(given.values(), expected.dlogits);
  NEMO_LAUNCH(device, cross_entropy_backward, counted.data(), lse.data(), labels_in.data(), static_cast<const float*>(nullptr),
              state_in.data(), shape);
  const auto counted_gradient = reference(logits_wide, labels, std::vector<double>(shape.rows, -0.125), shape).dlogits;
  check_close<T>(counted.values(), counted_gradient);

  Array<T> at_once(device, logits);
  Array<float> log_prob_at_once(device, shape.rows), lse_at_once(device, shape.rows);
  NEMO_LAUNCH(device, cross_entropy_forward_backward, log_prob_at_once.data(), lse_at_once.data(), at_once.data(), labels_in.data(),
              static_cast<const StepState*>(state_in.data()), shape);
  check_close<float>(log_prob_at_once.values(), expected.log_prob);
  check_close<float>(lse_at_once.values(), expected.lse);
  check_close<T>(at_once.values(), counted_gradient);
}

void rows(const TestDevice& device) {
  for (const float softcap : {0.0f, 5.0f})
    for (const CrossEntropyShape& shape : {CrossEntropyShape{1, 2, 2, softcap}, {9, 65, 72, softcap}, {6, 513, 640, softcap},
                                           {37, 1000, 1024, softcap}, {4, 50257, 50304, softcap},
                                           {3, 128250, 128256, softcap}, {5, 33, 41, softcap}}) {
      check<float>(device, shape);
      check<bf16>(device, shape);
    }
}

// The gradient against finite differences of sum(weight * log_prob), all in fp64 except the kernel.
void finite_differences(const TestDevice& device) {
  const CrossEntropyShape shape{3, 11, 11, 4.0f};
  const auto logits = random_values<float>(33, 3, 2.0), weights = random_values<float>(3, 4);
  const std::vector<int32_t> labels = {10, 0, 4};
  auto x = to_doubles(logits);
  const auto w = to_doubles(weights);
  const auto loss = [&] {
    const auto log_prob = reference(x, labels, w, shape).log_prob;
    return w[0] * log_prob[0] + w[1] * log_prob[1] + w[2] * log_prob[2];
  };
  std::vector<double> expected;
  for (double& element : x) {
    const double kept = element, h = 1e-5;
    element = kept + h;
    const double above = loss();
    element = kept - h;
    expected.push_back((above - loss()) / (2 * h));
    element = kept;
  }
  Array<float> logits_in(device, logits), weights_in(device, weights), log_prob(device, 3), lse(device, 3);
  Array<int32_t> labels_in(device, labels);
  NEMO_LAUNCH(device, cross_entropy_forward, log_prob.data(), lse.data(), logits_in.data(), labels_in.data(), shape);
  NEMO_LAUNCH(device, cross_entropy_backward, logits_in.data(), lse.data(), labels_in.data(), weights_in.data(),
              static_cast<const StepState*>(nullptr), shape);
  check_close<float>(logits_in.values(), expected);
}

// A diverged model must show, not turn into a finite loss.
void not_a_number(const TestDevice& device) {
  std::vector<float> logits = random_values<float>(2 * 600, 5);
  logits[3] = NAN;
  logits[600 + 7] = INFINITY;
  Array<float> logits_in(device, logits), log_prob(device, 2), lse(device, 2);
  Array<int32_t> labels_in(device, std::vector<int32_t>{1, 2});
  NEMO_LAUNCH(device, cross_entropy_forward, log_prob.data(), lse.data(), logits_in.data(), labels_in.data(), CrossEntropyShape{2, 600, 600});
  const auto values = log_prob.values();
  CHECK(!std::isfinite(values[0]));
  CHECK(!std::isfinite(values[1]));
  Array<StepState> state(device, std::vector<StepState>{StepState{}});
  Array<float> at_once(device, 2);
  NEMO_LAUNCH(device, cross_entropy_forward_backward, at_once.data(), lse.data(), logits_in.data(), labels_in.data(),
              static_cast<const StepState*>(state.data()), CrossEntropyShape{2, 600, 600});
  CHECK(!std::isfinite(at_once.values()[0]));
  CHECK(!std::isfinite(at_once.values()[1]));
}

void sums(const TestDevice& device) {
  for (const int64_t count : {1, 100, 5001}) {
    const auto log_prob = random_values<float>(count, 6);
    double expected = 2.5;
    for (const float value : log_prob) expected -= static_cast<double>(value);
    StepState state;
    state.loss_sum = 2.5;
    Array<StepState> state_in(device, std::vector<StepState>{state});
    Array<float> log_prob_in(device, log_prob);
    NEMO_LAUNCH(device, loss_sum, state_in.data(), log_prob_in.data(), count);
    CHECK(state_in.values()[0].loss_sum == Approx(expected).epsilon(1e-12));
  }
}

}  // namespace

NEMO_KERNEL_TEST("cross entropy and its gradient, with padded vocabulary and ignored labels", "[cross_entropy]", rows)
NEMO_KERNEL_TEST("cross entropy gradient against finite differences", "[cross_entropy]", finite_differences)
NEMO_KERNEL_TEST("cross entropy passes NaN and infinity on", "[cross_entropy]", not_a_number)
NEMO_KERNEL_TEST("loss_sum adds to the step's loss in fp64", "[cross_entropy]", sums)
