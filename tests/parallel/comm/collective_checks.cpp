#include "tests/parallel/comm/collective_checks.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "core/ops/copy.h"
#include "kernels/base/philox.h"
#include "tests/parallel/ranks.h"

namespace nemo::test {
namespace {

// The value that `rank` holds at `index`: any rank can tell any other's.
template <class T>
T value_of(int rank, int64_t index) {
  uint64_t bits = static_cast<uint64_t>(rank + 1) * 0x9E3779B97F4A7C15ull ^
                  static_cast<uint64_t>(index + 1) * 0xC2B2AE3D27D4EB4Full;
  bits = (bits ^ (bits >> 29)) * 0xBF58476D1CE4E5B9ull;
  bits ^= bits >> 32;
  if constexpr (std::is_integral_v<T>) return static_cast<T>(bits % 23);
  const float magnitude =
      std::ldexp(1.0f, static_cast<int>(bits >> 20 & 7) - 4);  // of different size, so that order shows
  return static_cast<T>((static_cast<float>(bits & 0xFFFF) / 32768.0f - 1.0f) * magnitude);
}

template <class T>
std::vector<T> values_of(int rank, int64_t count) {
  std::vector<T> values(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) values[static_cast<size_t>(i)] = value_of<T>(rank, i);
  return values;
}

template <class T>
Tensor tensor_of(ExecContext& ctx, const std::vector<T>& values) {
  const Tensor tensor = ctx.empty({static_cast<int64_t>(values.size())}, dtype_of<T>);
  if (!values.empty()) upload(ctx, tensor, values.data());
  return tensor;
}

template <class T>
Tensor poisoned(ExecContext& ctx, int64_t count) {
  std::vector<T> values(static_cast<size_t>(count));
  std::memset(static_cast<void*>(values.data()), 0xFF, values.size() * sizeof(T));
  return tensor_of(ctx, values);
}

template <class T>
std::vector<T> values_in(ExecContext& ctx, const Tensor& tensor) {
  std::vector<T> values(static_cast<size_t>(tensor.numel()));
  if (!values.empty()) download(ctx, values.data(), tensor);
  return values;
}

template <class T>
void expect_values(ExecContext& ctx, const Tensor& actual, const std::vector<T>& expected, const std::string& what,
                   double tolerance = 0) {
  const std::vector<T> values = values_in<T>(ctx, actual);
  expect_equal(values.size(), expected.size(), what + ", size");
  for (size_t i = 0; i < values.size(); ++i) {
    const double a = static_cast<double>(values[i]), e = static_cast<double>(expected[i]);
    if (!(std::abs(a - e) <= tolerance * std::max(1.0, std::abs(e))))
      expect_equal(a, e, what + " at " + std::to_string(i));
  }
}

// Element `index` summed (or its maximum taken) over the ranks, in their order.
template <class T>
T reduced(int size, int64_t index, Reduction reduction) {
  using Sum = std::conditional_t<std::is_same_v<T, bf16>, float, T>;
  Sum result = static_cast<Sum>(value_of<T>(0, index));
  for (int rank = 1; rank < size; ++rank) {
    const Sum value = static_cast<Sum>(value_of<T>(rank, index));
    result = reduction == Reduction::sum ? static_cast<Sum>(result + value) : std::max(result, value);
  }
  return static_cast<T>(result);
}

template <class T>
void check_reductions(ExecContext& ctx, const ProcessGroup& group, int64_t count, double tolerance) {
  const int size = group.size(), rank = group.rank();
  for (const Reduction reduction : {Reduction::sum, Reduction::max}) {
    const std::string what = std::string(name(dtype_of<T>)) + (reduction == Reduction::sum ? " sum of " : " max of ") +
                             std::to_string(count);
    // In another order each addition may round anew, at the size of what was added so far: at most 8 from each rank.
    const double allowed = reduction == Reduction::sum && !std::is_integral_v<T> ? tolerance * 8 * size : 0;
    std::vector<T> expected(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) expected[static_cast<size_t>(i)] = reduced<T>(size, i, reduction);
    const Tensor tensor = tensor_of(ctx, values_of<T>(rank, count));
    group.all_reduce(ctx, tensor, reduction, "check").wait(ctx);
    expect_values(ctx, tensor, expected, "all_reduce " + what, allowed);

    const int64_t part = count / size;
    std::vector<T> expected_part(expected.begin() + part * rank, expected.begin() + part * (rank + 1));
    const Tensor input = tensor_of(ctx, values_of<T>(rank, part * size)), output = poisoned<T>(ctx, part);
    group.reduce_scatter(ctx, output, input, reduction, "check").wait(ctx);
    expect_values(ctx, output, expected_part, "reduce_scatter " + what, allowed);
    const Tensor own = input.segment(part * rank, {part});
    group.reduce_scatter(ctx, own, input, reduction, "check in place").wait(ctx);
    expect_values(ctx, own, expected_part, "reduce_scatter in place " + what, allowed);
  }
}

template <class T>
void check_movement(ExecContext& ctx, const ProcessGroup& group, int64_t count) {
  const int size = group.size(), rank = group.rank();
  const std::string what = std::string(name(dtype_of<T>)) + " of " + std::to_string(count);
  std::vector<T> everybody;
  for (int r = 0; r < size; ++r) {
    const std::vector<T> theirs = values_of<T>(r, count);
    everybody.insert(everybody.end(), theirs.begin(), theirs.end());
  }
  const Tensor input = tensor_of(ctx, values_of<T>(rank, count)), output = poisoned<T>(ctx, count * size);
  group.all_gather(ctx, output, input, "check").wait(ctx);
  expect_values(ctx, output, everybody, "all_gather " + what);
  const Tensor in_place = poisoned<T>(ctx, count * size), own = in_place.segment(count * rank, {count});
  if (count > 0) upload(ctx, own, values_of<T>(rank, count).data());
  group.all_gather(ctx, in_place, own, "check in place").wait(ctx);
  expect_values(ctx, in_place, everybody, "all_gather in place " + what);

  for (int root = 0; root < size; ++root) {
    const Tensor tensor = tensor_of(ctx, values_of<T>(rank, count));
    group.broadcast(ctx, tensor, root, "check").wait(ctx);
    expect_values(ctx, tensor, values_of<T>(root, count), "broadcast " + what);
  }
  if (size == 1) return;
  // Around the ring in both directions at once, two messages each way.
  const int next = (rank + 1) % size, previous = (rank + size - 1) % size;
  const Tensor from_previous = poisoned<T>(ctx, count), again = poisoned<T>(ctx, count),
               from_next = poisoned<T>(ctx, count);
  const Tensor doubled = tensor_of(ctx, values_of<T>(rank + size, count));
  if (size > 2) {
    group
        .exchange(ctx, {{next, input}, {previous, input}, {next, doubled}},
                  {{previous, from_previous}, {next, from_next}, {previous, again}}, "ring")
        .wait(ctx);
    expect_values(ctx, from_next, values_of<T>(next, count), "from the next " + what);
  } else {  // both directions are one peer: messages keep their order
    group.exchange(ctx, {{next, input}, {next, doubled}}, {{previous, from_previous}, {previous, again}}, "ring")
        .wait(ctx);
  }
  expect_values(ctx, from_previous, values_of<T>(previous, count), "from the previous " + what);
  expect_values(ctx, again, values_of<T>(previous + size, count), "second from the previous " + what);
  // A pipeline: each waits for the one before.
  const Tensor passed = rank == 0 ? input : poisoned<T>(ctx, count);
  if (rank > 0) group.recv(ctx, passed, rank - 1, "pass on").wait(ctx);
  if (rank + 1 < size) group.send(ctx, passed, rank + 1, "pass on").wait(ctx);
  expect_values(ctx, passed, values_of<T>(0, count), "passed on " + what);
}

// Rank r sends s * (r + 1) + (r + s) % 2 rows of `width` to rank s.
int64_t rows_between(int from, int to) {
  return static_cast<int64_t>(to) * (from + 1) + (from + to) % 2;
}

void check_all_to_all(ExecContext& ctx, const ProcessGroup& group, int64_t width) {
  const int size = group.size(), rank = group.rank();
  std::vector<int64_t> input_rows, output_rows;
  std::vector<float> sent, expected;
  for (int peer = 0; peer < size; ++peer) {
    input_rows.push_back(rows_between(rank, peer));
    output_rows.push_back(rows_between(peer, rank));
    for (int64_t i = 0; i < input_rows.back() * width; ++i) sent.push_back(value_of<float>(rank * size + peer, i));
    for (int64_t i = 0; i < output_rows.back() * width; ++i) expected.push_back(value_of<float>(peer * size + rank, i));
  }
  const int64_t num_sent = static_cast<int64_t>(sent.size()), num_received = static_cast<int64_t>(expected.size());
  const Tensor input = tensor_of(ctx, sent), output = poisoned<float>(ctx, num_received);
  group
      .all_to_all(ctx, output.view({num_received / width, width}), output_rows, input.view({num_sent / width, width}),
                  input_rows, "uneven")
      .wait(ctx);
  expect_values(ctx, output, expected, "all_to_all");
}

}  // namespace

void check_collectives(ExecContext& ctx, const ProcessGroup& group, bool exact) {
  for (const int64_t count : {int64_t{0}, int64_t{1}, int64_t{7}, int64_t{4099}}) {
    check_reductions<float>(ctx, group, count, exact ? 0 : 1e-6);
    check_reductions<bf16>(ctx, group, count, exact ? 0 : 1e-2);
    check_reductions<double>(ctx, group, count, exact ? 0 : 1e-14);
    check_reductions<int32_t>(ctx, group, count, 0);
    check_reductions<int64_t>(ctx, group, count, 0);
    check_reductions<uint8_t>(ctx, group, count, 0);
    check_movement<float>(ctx, group, count);
    check_movement<bf16>(ctx, group, count);
    check_movement<uint8_t>(ctx, group, count);
  }
  check_reductions<float>(ctx, group, 300007, exact ? 0 : 1e-6);  // beyond what a socket's buffers hold
  check_movement<float>(ctx, group, 300007);
  check_all_to_all(ctx, group, 1);
  check_all_to_all(ctx, group, 33);
  group.barrier(ctx, "check").wait(ctx);
}

void check_calls_in_flight(ExecContext& ctx, const ProcessGroup& first, const ProcessGroup& second) {
  constexpr int kRounds = 8;
  const int size = first.size();
  std::vector<Tensor> sums, gathered;
  std::vector<Work> sum_work, gather_work;
  for (int round = 0; round < kRounds; ++round) {
    const int64_t count = 1000 + round;
    sums.push_back(tensor_of(ctx, values_of<float>(first.rank(), count)));
    gathered.push_back(poisoned<float>(ctx, count * size));
    {
      // The input is dropped at once: its memory must stay leased until the call has ended.
      const Tensor input = tensor_of(ctx, values_of<float>(second.rank() + round, count));
      gather_work.push_back(second.all_gather(ctx, gathered.back(), input, "gather " + std::to_string(round)));
    }
    const Tensor scribble = poisoned<float>(ctx, count);
    sum_work.push_back(first.all_reduce(ctx, sums.back(), Reduction::max, "max " + std::to_string(round)));
  }
  for (int round = kRounds - 1; round >= 0; --round) {
    const size_t at = static_cast<size_t>(round);
    const int64_t count = 1000 + round;
    sum_work[at].wait(ctx);
    gather_work[at].wait(ctx);
    std::vector<float> expected(static_cast<size_t>(count)), everybody;
    for (int64_t i = 0; i < count; ++i) expected[static_cast<size_t>(i)] = reduced<float>(size, i, Reduction::max);
    for (int rank = 0; rank < size; ++rank) {
      const std::vector<float> theirs = values_of<float>(rank + round, count);
      everybody.insert(everybody.end(), theirs.begin(), theirs.end());
    }
    expect_values(ctx, sums[at], expected, "round " + std::to_string(round));
    expect_values(ctx, gathered[at], everybody, "round " + std::to_string(round));
  }
}

}  // namespace nemo::test
