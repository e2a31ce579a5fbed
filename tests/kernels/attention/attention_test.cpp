#include "kernels/attention/attention.h"

#include "tests/kernels/device_array.h"
#include "tests/kernels/threads.h"

using namespace nemo;
using namespace nemo::kernels;
using namespace nemo::testing;

namespace {

struct Case {
  std::vector<int32_t> q_lengths, k_lengths;  // one a segment; keys may be more than queries
  int64_t heads = 2, groups = 2, head_size = 8;
  bool causal = true;
  int64_t window = 0;
  float softcap = 0, dropout = 0;
  int64_t first_head = 0, total_heads = 0;
  bool part_of_the_keys = false;  // of longer segments: key positions are given
};

// Queries, keys and values lie side by side in one token, as a packed projection writes them, so strides exceed the heads.
struct Problem {
  AttentionShape shape;
  std::vector<int32_t> q_begin, q_end, k_begin, k_end;
  std::vector<int64_t> token_ids;
  std::vector<int32_t> key_positions;  // empty: as the keys lie
  RandomKey key{21, 22};
  int64_t step = 9;

  explicit Problem(const Case& c) {
    int32_t queries = 2, keys = 1;  // tokens before, between and after that belong to no segment
    for (size_t i = 0; i < c.q_lengths.size(); ++i) {
      q_begin.push_back(queries);
      q_end.push_back(queries += c.q_lengths[i]);
      k_begin.push_back(keys);
      k_end.push_back(keys += c.k_lengths[i]);
      keys += 1;
    }
    queries += 1;
    shape = {.num_segments = static_cast<int64_t>(c.q_lengths.size()), .query_tokens = queries, .key_tokens = keys,
             .max_query_length = *std::max_element(c.q_lengths.begin(), c.q_lengths.end()),
             .max_key_length = *std::max_element(c.k_lengths.begin(), c.k_lengths.end()),
             .num_heads = c.heads, .num_groups = c.groups, .head_size = c.head_size,
             .q_stride = (c.heads + 1) * c.head_size, .k_stride = (c.groups + 2) * c.head_size, .v_stride = (c.groups + 1) * c.head_size,
             .out_stride = (c.heads + 2) * c.head_size, .scale = 1.0f / std::sqrt(static_cast<float>(c.head_size)), .causal = c.causal,
             .window = c.window, .softcap = c.softcap, .dropout = c.dropout, .first_head = c.first_head, .total_heads = c.total_heads};
    for (int64_t t = 0; t < queries; ++t) token_ids.push_back(100 + 5 * t);
    for (int32_t t = 0; t < keys && c.part_of_the_keys; ++t) key_positions.push_back(3 * t + 1);
  }
  bool in_segment(int64_t token, const std::vector<int32_t>& begin, const std::vector<int32_t>& end) const {
    for (size_t i = 0; i < begin.size(); ++i)
      if (q_end[i] > q_begin[i] && token >= begin[i] && token < end[i]) return true;
    return false;
  }
};

struct Result { std::vector<double> out, lse, dq, dk, dv; };

// The formulas of the header in fp64. Gradients of sum(out * dout) when dout is given. The backward takes `out` as an input,
// rounded as it was stored: where it is given, dout . out comes from there, as in the kernel.
Result reference(const Problem& p, const std::vector<double>& q, const std::vector<double>& k, const std::vector<double>& v,
                 const std::vector<double>& dout, int64_t dout_stride, const std::vector<double>& stored_out = {}) {
  const AttentionShape& s = p.shape;
  const int64_t D = s.head_size;
  Result r{std::vector<double>(s.query_tokens * s.out_stride), std::vector<double>(s.num_heads * s.query_tokens),
           std::vector<double>(q.size()), std::vector<double>(k.size()), std::vector<double>(v.size())};
  for (int64_t segment = 0; segment < s.num_segments; ++segment)
    for (int64_t head = 0; head < s.num_heads; ++head)
      for (int64_t i = p.q_begin[segment]; i < p.q_end[segment]; ++i) {
        const int64_t group = head / (s.num_heads / s.num_groups), k_length = p.k_end[segment] - p.k_begin[segment];
        const int64_t position = i - p.q_begin[segment] + k_length - (p.q_end[segment] - p.q_begin[segment]);
        const auto k_at = [&](int64_t j) { return (p.k_begin[segment] + j) * s.k_stride + group * D; };
        const auto v_at = [&](int64_t j) { return (p.k_begin[segment] + j) * s.v_stride + group * D; };
        const int64_t q_at = i * s.q_stride + head * D;
        std::vector<double> score(k_length, -INFINITY), slope(k_length), keep(k_length, 1.0), prob(k_length), dp(k_length);
        double sum = 0, delta = 0;
        for (int64_t j = 0; j < k_length; ++j) {
          if ((s.causal && j > position) || (s.window > 0 && j <= position - s.window)) continue;
          double dot = 0;
          for (int64_t d = 0; d < D; ++d) dot += q[q_at + d] * k[k_at(j) + d];
          dot *= static_cast<double>(s.scale);
          const double t = s.softcap > 0 ? std::tanh(dot / s.softcap) : 0;
          score[j] = s.softcap > 0 ? s.softcap * t : dot;
          slope[j] = (s.softcap > 0 ? 1 - t * t : 1) * s.scale;
          sum += std::exp(score[j]);
          if (s.dropout > 0) {
            const uint64_t index = (static_cast<uint64_t>(p.token_ids[i] * (s.total_heads == 0 ? s.num_heads : s.total_heads) + s.first_head + head) << 20) + (p.key_positions.empty() ? j : p.key_positions[p.k_begin[segment] + j]);
            keep[j] = uniform(philox(p.key, p.step, index).x) < s.dropout ? 0.0 : 1 / (1 - static_cast<double>(s.dropout));
          }
        }
        r.lse[head * s.query_tokens + i] = std::log(sum);
        for (int64_t j = 0; j < k_length; ++j) {
          prob[j] = std::exp(score[j]) / sum;
          for (int64_t d = 0; d < D; ++d) {
            r.out[i * s.out_stride + head * D + d] += prob[j] * keep[j] * v[v_at(j) + d];
            if (dout.empty()) continue;
            dp[j] += keep[j] * v[v_at(j) + d] * dout[i * dout_stride + head * D + d];
            r.dv[v_at(j) + d] += prob[j] * keep[j] * dout[i * dout_stride + head * D + d];
          }
          delta += prob[j] * dp[j];
        }
        if (!stored_out.empty()) {
          delta = 0;
          for (int64_t d = 0; d < D; ++d) delta += stored_out[i * s.out_stride + head * D + d] * dout[i * dout_stride + head * D + d];
        }
        for (int64_t j = 0; j < k_length && !dout.empty(); ++j)
          for (int64_t d = 0; d < D; ++d) {
            const double dscore = prob[j] == 0 ? 0 : prob[j] * (dp[j] - delta) * slope[j];
            r.dq[q_at + d] += dscore * k[k_at(j) + d];
            r.dk[k_at(j) + d] += dscore * q[q_at + d];
          }
      }
  return r;
}

// Elements of the tokens in a segment with something to attend, heads only: what a kernel has to write, and no more.
template <class T>
std::vector<T> written(const std::vector<T>& x, const Problem& p, bool keys, int64_t stride, int64_t width) {
  std::vector<T> used;
  bool rest_kept = true;
  for (size_t i = 0; i < x.size(); ++i) {
    const int64_t token = static_cast<int64_t>(i) / stride;
    const bool inside = keys ? p.in_segment(token, p.k_begin, p.k_end) : p.in_segment(token, p.q_begin, p.q_end);
    if (inside && static_cast<int64_t>(i) % stride < width) used.push_back(x[i]);
    else if (std::is_same_v<T, double>) continue;
    else rest_kept = rest_kept && std::isnan(static_cast<float>(x[i]));
  }
  CHECK(rest_kept);
  return used;
}

template <class T>
void check(const TestDevice& device, const Case& c) {
  const Problem p(c);
  const AttentionShape& s = p.shape;
  CAPTURE(s.num_segments, s.max_query_length, s.max_key_length, s.num_heads, s.num_groups, s.head_size, s.causal, s.window, s.softcap,
          s.dropout, name(dtype_of<T>));
  const int64_t D = s.head_size;
  const AttentionGradStrides strides{(s.num_heads + 1) * D, (s.num_heads + 3) * D, (s.num_groups + 1) * D, (s.num_groups + 2) * D};
  const auto q = random_values<T>(s.query_tokens * s.q_stride, 1, 1.5), k = random_values<T>(s.key_tokens * s.k_stride, 2, 1.5);
  const auto v = random_values<T>(s.key_tokens * s.v_stride, 3), dout = random_values<T>(s.query_tokens * strides.dout_stride, 4);
  Array<T> q_in(device, q), k_in(device, k), v_in(device, v), dout_in(device, dout), out(device, s.query_tokens * s.out_stride);
  Array<float> lse(device, s.num_heads * s.query_tokens), delta(device, s.num_heads * s.query_tokens);
  Array<int32_t> q_begin(device, p.q_begin), q_end(device, p.q_end), k_begin(device, p.k_begin), k_end(device, p.k_end);
  Array<int64_t> token_ids(device, p.token_ids);
  Array<int32_t> key_positions(device, p.key_positions);
  StepState state;
  state.step = p.step;
  Array<StepState> state_in(device, std::vector<StepState>{state});
  const AttentionSegments segments{q_begin.data(), q_end.data(), k_begin.data(), k_end.data()};
  const AttentionDropout dropout{p.key, token_ids.data(), state_in.data(), c.part_of_the_keys ? key_positions.data() : nullptr};

  NEMO_LAUNCH(device, attention_forward, out.data(), lse.data(), q_in.data(), k_in.data(), v_in.data(), segments, s, dropout);
  const Result expected =
      reference(p, to_doubles(q), to_doubles(k), to_doubles(v), to_doubles(dout), strides.dout_stride, to_doubles(out.values()));
  const auto heads_of = [&](const auto& x, int64_t stride) { return written(x, p, false, stride, s.num_heads * D); };
  check_close<T>(heads_of(out.values(), s.out_stride), heads_of(expected.out, s.out_stride));
  std::vector<float> ours_lse;
  std::vector<double> expected_lse;
  const auto all_lse = lse.values();
  for (int64_t i = 0; i < s.num_heads * s.query_tokens; ++i)
    if (p.in_segment(i % s.query_tokens, p.q_begin, p.q_end)) {
      ours_lse.push_back(all_lse[i]);
      expected_lse.push_back(expected.lse[i]);
    }
  check_close<float>(ours_lse, expected_lse);

  Array<T> dq(device, s.query_tokens * strides.dq_stride), dk(device, s.key_tokens * strides.dk_stride), dv(device, s.key_tokens * strides.dv_stride);
  const auto backward = [&] {
    NEMO_LAUNCH(device, attention_backward, dq.data(), dk.data(), dv.data(), dout_in.data(), q_in.data(), k_in.data(), v_in.data(),
                out.data(), lse.data(), delta.data(), segments, s, strides, dropout);
  };
  backward();
  const auto keys_of = [&](const auto& x, int64_t stride) { return written(x, p, true, stride, s.num_groups * D); };
  check_close<T>(heads_of(dq.values(), strides.dq_stride), heads_of(expected.dq, s.q_stride));
  check_close<T>(keys_of(dk.values(), strides.dk_stride), keys_of(expected.dk, s.k_stride));
  check_close<T>(keys_of(dv.values(), strides.dv_stride), keys_of(expected.dv, s.v_stride));
  delta.values();  // looks at the guard
  if (!device.is_cuda()) {
    check_same_bits_for_any_thread_count([&] { backward(); return dq.values(); });
    check_same_bits_for_any_thread_count([&] { backward(); return dk.values(); });
  }
}

const Case kPlain[] = {
    {.q_lengths = {1, 2}, .k_lengths = {1, 2}},
    {.q_lengths = {13}, .k_lengths = {13}},
    {.q_lengths = {64, 64}, .k_lengths = {64, 64}, .heads = 4, .groups = 4, .head_size = 32},
    {.q_lengths = {200}, .k_lengths = {200}, .heads = 2, .groups = 1, .head_size = 64},
    {.q_lengths = {37, 0, 5, 130}, .k_lengths = {37, 0, 5, 130}, .heads = 6, .groups = 2, .head_size = 16},
    {.q_lengths = {70, 33}, .k_lengths = {70, 33}, .heads = 3, .groups = 1, .head_size = 128},
    {.q_lengths = {50, 21}, .k_lengths = {50, 21}, .causal = false},
    {.q_lengths = {9, 20}, .k_lengths = {90, 3}, .heads = 4, .groups = 2, .causal = false},
};
const Case kCached[] = {
    {.q_lengths = {1, 1, 1}, .k_lengths = {1, 150, 63}, .heads = 4, .groups = 2, .head_size = 64},
    {.q_lengths = {7, 64}, .k_lengths = {80, 129}, .heads = 4, .groups = 1, .head_size = 16},
};
const Case kMasked[] = {
    {.q_lengths = {150, 40}, .k_lengths = {150, 40}, .head_size = 16, .window = 2},
    {.q_lengths = {150, 40}, .k_lengths = {150, 40}, .heads = 4, .head_size = 32, .window = 37},
    {.q_lengths = {20, 1}, .k_lengths = {170, 90}, .head_size = 16, .window = 64},
    {.q_lengths = {33}, .k_lengths = {33}, .head_size = 80, .softcap = 3.0f},
    {.q_lengths = {100}, .k_lengths = {140}, .heads = 4, .groups = 1, .head_size = 24, .window = 50, .softcap = 2.0f},
};
const Case kDropped[] = {
    {.q_lengths = {30, 75}, .k_lengths = {30, 75}, .heads = 4, .groups = 2, .head_size = 16, .dropout = 0.3f},
    {.q_lengths = {40}, .k_lengths = {40}, .softcap = 4.0f, .dropout = 0.1f, .first_head = 4, .total_heads = 8},
    {.q_lengths = {30, 75}, .k_lengths = {41, 20}, .heads = 4, .groups = 2, .causal = false, .dropout = 0.3f, .part_of_the_keys = true},
};

template <size_t N>
void check_all(const TestDevice& device, const Case (&cases)[N]) {
  for (const Case& c : cases) {
    check<float>(device, c);
    check<bf16>(device, c);
  }
}

void plain(const TestDevice& device) { check_all(device, kPlain); }
void cached(const TestDevice& device) { check_all(device, kCached); }
void masked(const TestDevice& device) { check_all(device, kMasked); }
void dropped(const TestDevice& device) { check_all(device, kDropped); }

}  // namespace

NEMO_KERNEL_TEST("attention and its gradients over segments and groups", "[attention]", plain)
NEMO_KERNEL_TEST("attention with more keys than queries", "[attention]", cached)
NEMO_KERNEL_TEST("attention with window and soft cap", "[attention]", masked)
NEMO_KERNEL_TEST("attention with dropout, one mask forward and backward", "[attention]", dropped)

TEST_CASE("the fp64 attention gradients agree with finite differences", "[kernels][attention]") {
  for (const Case& c : {Case{.q_lengths = {5, 4}, .k_lengths = {7, 4}, .heads = 4, .groups = 2, .head_size = 3, .window = 4, .softcap = 2.0f, .dropout = 0.2f},
                        Case{.q_lengths = {6}, .k_lengths = {6}, .causal = false}}) {
    const Problem p(c);
    const AttentionShape& s = p.shape;
    auto q = to_doubles(random_values<float>(s.query_tokens * s.q_stride, 1)), k = to_doubles(random_values<float>(s.key_tokens * s.k_stride, 2));
    auto v = to_doubles(random_values<float>(s.key_tokens * s.v_stride, 3));
    const auto dout = to_doubles(random_values<float>(s.query_tokens * s.out_stride, 4));
    const Result exact = reference(p, q, k, v, dout, s.out_stride);
    const auto loss = [&] {
      const auto out = reference(p, q, k, v, {}, 0).out;
      double sum = 0;
      for (size_t i = 0; i < out.size(); ++i) sum += out[i] * dout[i];
      return sum;
    };
    const auto worst = [&](std::vector<double>& x, const std::vector<double>& gradient) {
      double error = 0;
      for (size_t i = 0; i < x.size(); ++i) {
        const double kept = x[i], h = 1e-5;
        x[i] = kept + h;
        const double above = loss();
        x[i] = kept - h;
        error = std::max(error, std::fabs((above - loss()) / (2 * h) - gradient[i]));
        x[i] = kept;
      }
      return error;
    };
    CHECK(worst(q, exact.dq) < 1e-8);
    CHECK(worst(k, exact.dk) < 1e-8);
    CHECK(worst(v, exact.dv) < 1e-8);
  }
}

TEST_CASE("attention drops the fraction it is told to", "[kernels][attention]") {
  // One query, all scores equal, values one: the output is kept keys / keys / (1 - rate).
  const int64_t keys = 20000;
  const AttentionShape shape{.num_segments = 1, .query_tokens = 1, .key_tokens = keys, .max_query_length = 1, .max_key_length = keys,
                             .num_heads = 1, .num_groups = 1, .head_size = 1, .q_stride = 1, .k_stride = 1, .v_stride = 1, .out_stride = 1,
                             .dropout = 0.25f};
  const std::vector<float> q(1, 0.0f), k(keys, 0.0f), v(keys, 1.0f);
  const int32_t begin = 0, q_end = 1, k_end = keys;
  const int64_t token_id = 77;
  StepState state;
  state.step = 1;
  float out = NAN, lse = NAN;
  attention_forward_cpu(&out, &lse, q.data(), k.data(), v.data(), {&begin, &q_end, &begin, &k_end}, shape, {{1, 2}, &token_id, &state});
  CHECK(out * 0.75f == Approx(0.75).margin(5 * std::sqrt(0.1875 / keys)));
  CHECK(out != 1.0f);
  CHECK(lse == Approx(std::log(20000.0)));
}
