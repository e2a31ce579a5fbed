#include "core/nn/kv_cache.h"

#include <catch2/catch.hpp>
#include <vector>

#include "core/error.h"
#include "core/nn/attention_core.h"
#include "core/ops/copy.h"
#include "tests/core/checkpoint/checkpoint_files.h"

using namespace nemo;
using nemo::test::error_of;

namespace {

constexpr int64_t kHeads = 4, kGroups = 2, kHeadSize = 8;

struct OnCpu {
  Runtime runtime{Device{}, false};
  ExecContext ctx{runtime, DType::fp32};

  Tensor tensor(const Shape& shape, const std::vector<float>& values) {
    const Tensor result = ctx.empty(shape, DType::fp32);
    write_fp32(ctx, result, values.data());
    return result;
  }
};

std::vector<float> noise(int64_t count, uint32_t seed) {
  std::vector<float> values;
  for (int64_t i = 0; i < count; ++i)
    values.push_back(static_cast<float>((seed = seed * 1664525u + 1013904223u) >> 8) * 0x1p-23f - 1);
  return values;
}

// One sequence's queries, keys and values, a row a token.
struct Sequence {
  int64_t length;
  std::vector<float> q, k, v;
  Sequence(int64_t length, uint32_t seed)
      : length(length),
        q(noise(length * kHeads * kHeadSize, seed)),
        k(noise(length * kGroups * kHeadSize, seed + 1)),
        v(noise(length * kGroups * kHeadSize, seed + 2)) {}
};

// Attention of each sequence alone, without a cache.
std::vector<float> attend_at_once(const Sequence& sequence, int64_t window) {
  OnCpu cpu;
  KvCache cache(cpu.ctx, 1, 1, sequence.length, kGroups, kHeadSize);  // only for the layout of one segment
  TokenLayout tokens =
      cache.layout(cpu.ctx, std::vector<int32_t>(static_cast<size_t>(sequence.length)), {sequence.length});
  tokens.cache = nullptr;
  const Tensor out = attention(cpu.ctx, cpu.tensor({sequence.length, kHeads, kHeadSize}, sequence.q),
                               cpu.tensor({sequence.length, kGroups, kHeadSize}, sequence.k),
                               cpu.tensor({sequence.length, kGroups, kHeadSize}, sequence.v), tokens,
                               {.scale = 0.35f, .window = window});
  return read_fp32(cpu.ctx, out);
}

std::vector<float> rows(const std::vector<float>& values, int64_t first, int64_t count, int64_t width) {
  return {values.begin() + first * width, values.begin() + (first + count) * width};
}

// The sequences through the cache, counts[step][sequence] tokens at a time; the outputs of each, joined.
std::vector<std::vector<float>> attend_in_steps(const std::vector<Sequence>& sequences,
                                                const std::vector<std::vector<int64_t>>& counts, int64_t window) {
  OnCpu cpu;
  const LocalAttention core({.scale = 0.35f, .window = window});
  KvCache cache(cpu.ctx, 2, static_cast<int64_t>(sequences.size()), 12, kGroups, kHeadSize);
  std::vector<std::vector<float>> outputs(sequences.size());
  for (const std::vector<int64_t>& step : counts) {
    std::vector<float> q, k, v;
    int64_t total = 0;
    for (size_t i = 0; i < sequences.size(); ++i) {
      for (const auto& [to, from, width] : {std::tuple{&q, &sequences[i].q, kHeads * kHeadSize},
                                            {&k, &sequences[i].k, kGroups * kHeadSize},
                                            {&v, &sequences[i].v, kGroups * kHeadSize}}) {
        const std::vector<float> more = rows(*from, cache.length(static_cast<int64_t>(i)), step[i], width);
        to->insert(to->end(), more.begin(), more.end());
      }
      total += step[i];
    }
    const TokenLayout tokens = cache.layout(cpu.ctx, std::vector<int32_t>(static_cast<size_t>(total)), step);
    const Tensor out =
        core.forward(cpu.ctx, cpu.tensor({total, kHeads, kHeadSize}, q), cpu.tensor({total, kGroups, kHeadSize}, k),
                     cpu.tensor({total, kGroups, kHeadSize}, v), tokens, 1);
    cache.advance(step);
    const std::vector<float> values = read_fp32(cpu.ctx, out);
    int64_t first = 0;
    for (size_t i = 0; i < sequences.size(); ++i) {
      const std::vector<float> mine = rows(values, first, step[i], kHeads * kHeadSize);
      outputs[i].insert(outputs[i].end(), mine.begin(), mine.end());
      first += step[i];
    }
  }
  return outputs;
}

}  // namespace

TEST_CASE("attention through the cache is attention over the whole sequence", "[kv_cache]") {
  const int64_t window = GENERATE(0, 3);
  CAPTURE(window);
  const std::vector<Sequence> sequences = {Sequence(5, 1), Sequence(9, 50), Sequence(2, 90)};
  // Prompts of different lengths, then single tokens; the third sequence ends early, the second takes several at once.
  const auto outputs = attend_in_steps(sequences, {{3, 4, 1}, {1, 1, 1}, {0, 3, 0}, {1, 1, 0}}, window);
  for (size_t i = 0; i < sequences.size(); ++i) {
    const std::vector<float> expected = attend_at_once(sequences[i], window);
    REQUIRE(outputs[i].size() == expected.size());
    for (size_t j = 0; j < expected.size(); ++j) CHECK(outputs[i][j] == Approx(expected[j]).margin(1e-6));
  }
}

TEST_CASE("a reordered cache continues the sequences it is told to", "[kv_cache]") {
  const Sequence one(6, 7), two(4, 70);
  OnCpu cpu;
  KvCache cache(cpu.ctx, 1, 3, 8, kGroups, kHeadSize);
  const auto append = [&](const std::vector<float>& k, const std::vector<float>& v,
                          const std::vector<int64_t>& counts) {
    const int64_t total = counts[0] + counts[1] + counts[2];
    cache.layout(cpu.ctx, std::vector<int32_t>(static_cast<size_t>(total)), counts);
    const KvCache::View all = cache.append(cpu.ctx, 0, cpu.tensor({total, kGroups, kHeadSize}, k),
                                           cpu.tensor({total, kGroups, kHeadSize}, v));
    cache.advance(counts);
    return std::pair{read_fp32(cpu.ctx, all.keys), read_fp32(cpu.ctx, all.values)};
  };
  std::vector<float> k = one.k, v = one.v;
  k.insert(k.end(), two.k.begin(), two.k.end());
  v.insert(v.end(), two.v.begin(), two.v.end());
  append(k, v, {6, 4, 0});
  cache.reorder(cpu.ctx, {1, 0, 0});
  CHECK(cache.length(0) == 4);
  CHECK(cache.length(1) == 6);
  CHECK(cache.length(2) == 6);
  const Sequence more(3, 99);  // one token for each
  const auto [keys, values] = append(more.k, more.v, {1, 1, 1});
  const int64_t width = kGroups * kHeadSize;
  for (const auto& [slot, sequence] : {std::pair{0, &two}, {1, &one}, {2, &one}}) {
    CHECK(rows(keys, slot * 8, sequence->length, width) == sequence->k);
    CHECK(rows(values, slot * 8, sequence->length, width) == sequence->v);
    CHECK(rows(keys, slot * 8 + sequence->length, 1, width) == rows(more.k, slot, 1, width));
  }
}

TEST_CASE("a full cache says so", "[kv_cache]") {
  OnCpu cpu;
  KvCache cache(cpu.ctx, 1, 2, 4, kGroups, kHeadSize);
  CHECK(error_of<ShapeError>([&] {
          cache.layout(cpu.ctx, std::vector<int32_t>(6), {1, 5});
        }) == "generate: sequence 1: needs 5 positions, the cache holds 4");
  CHECK(error_of<ShapeError>([&] {
          cache.layout(cpu.ctx, std::vector<int32_t>(3), {1, 1});
        }) == "generate: ids: 3 given, 2 counted");
}
