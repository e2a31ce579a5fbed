#include "kernels/attention/attention_merge.h"

#include "tests/kernels/device_array.h"

using namespace nemo;
using namespace nemo::kernels;
using namespace nemo::testing;

namespace {

// Softmax-weighted sums over all keys, against merging two or three parts of them; some queries see no key of a part.
template <class T>
void check(const TestDevice& device, const AttentionMergeShape& shape, int num_parts) {
  CAPTURE(shape.tokens, shape.num_heads, shape.head_size, num_parts, name(dtype_of<T>));
  const int64_t heads = shape.num_heads, size = shape.head_size, items = shape.tokens * heads;
  std::vector<double> out(items * size), lse(items);
  std::vector<std::vector<T>> parts;
  std::vector<std::vector<float>> part_lse;
  for (int part = 0; part < num_parts; ++part) {
    parts.push_back(random_values<T>(items * size, 10 + part));
    part_lse.push_back(random_values<float>(items, 20 + part, 4.0));
    for (int64_t i = 0; i < items; ++i)
      if ((i + part) % 4 == 0) part_lse.back()[i] = -INFINITY;
  }
  for (int64_t token = 0; token < shape.tokens; ++token)
    for (int64_t head = 0; head < heads; ++head) {
      const int64_t at = head * shape.tokens + token, row = (token * heads + head) * size;
      double total = 0;
      for (const auto& each : part_lse) total += std::exp(static_cast<double>(each[at]));
      lse[at] = std::log(total);
      for (int part = 0; part < num_parts && total > 0; ++part)
        for (int64_t d = 0; d < size; ++d)
          out[row + d] += std::exp(static_cast<double>(part_lse[part][at])) / total *
                          static_cast<double>(static_cast<float>(parts[part][row + d]));
    }
  // Nothing seen yet: what `out` holds must not matter, where something is added.
  Array<float> merged(device, std::vector<float>(items * size, NAN)),
      merged_lse(device, std::vector<float>(items, -INFINITY));
  for (int part = 0; part < num_parts; ++part) {
    Array<T> values(device, parts[part]);
    Array<float> sums(device, part_lse[part]);
    NEMO_LAUNCH(device, attention_merge, merged.data(), merged_lse.data(), values.data(), sums.data(), shape);
  }
  std::vector<float> ours = merged.values(), ours_lse = merged_lse.values();
  for (int64_t token = 0; token < shape.tokens; ++token)
    for (int64_t head = 0; head < heads; ++head) {
      const int64_t at = head * shape.tokens + token, row = (token * heads + head) * size;
      if (lse[at] != -INFINITY) continue;
      CHECK(ours_lse[at] == -INFINITY);
      lse[at] = ours_lse[at] = 0;
      std::fill_n(ours.begin() + row, size, 0.0f);
    }
  check_close<float>(ours, out);
  check_close<float>(ours_lse, lse);
}

void parts(const TestDevice& device) {
  for (const AttentionMergeShape& shape : {AttentionMergeShape{1, 1, 8}, {33, 4, 16}, {70, 3, 80}, {129, 2, 128}})
    for (const int num_parts : {2, 3}) {
      check<float>(device, shape, num_parts);
      check<bf16>(device, shape, num_parts);
    }
}

}  // namespace

NEMO_KERNEL_TEST("attention over parts of the keys merges into attention over all", "[attention]", parts)
