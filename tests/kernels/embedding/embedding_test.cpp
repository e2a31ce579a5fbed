#include "kernels/embedding/embedding.h"

#include "tests/kernels/device_array.h"
#include "tests/kernels/threads.h"

using namespace nemo;
using namespace nemo::kernels;
using namespace nemo::testing;

namespace {

// Ids in and around the slice of rows, some much more often than others.
std::vector<int32_t> some_ids(const EmbeddingShape& shape) {
  std::mt19937 engine(5);
  std::vector<int32_t> ids;
  for (int64_t t = 0; t < shape.tokens; ++t) {
    const auto draw = static_cast<int64_t>(engine());
    ids.push_back(static_cast<int32_t>(t % 3 == 0 ? shape.first_row + shape.rows / 2
                                                  : shape.first_row == 0 ? draw % shape.rows : draw % (shape.first_row + shape.rows + 3)));
  }
  return ids;
}

template <class T>
void check_forward(const TestDevice& device, const EmbeddingShape& shape, bool accumulate) {
  CAPTURE(shape.tokens, shape.rows, shape.hidden, shape.first_row, accumulate);
  const auto table = random_values<T>(shape.rows * shape.hidden, 1), before = random_values<T>(shape.tokens * shape.hidden, 2);
  const auto ids = some_ids(shape);
  std::vector<double> expected;
  for (int64_t t = 0; t < shape.tokens; ++t)
    for (int64_t h = 0; h < shape.hidden; ++h) {
      const int64_t row = ids[t] - shape.first_row;
      double value = row >= 0 && row < shape.rows ? static_cast<double>(static_cast<float>(table[row * shape.hidden + h])) : 0.0;
      if (accumulate) value += static_cast<double>(static_cast<float>(before[t * shape.hidden + h]));
      expected.push_back(value);
    }
  Array<T> table_in(device, table), y = accumulate ? Array<T>(device, before) : Array<T>(device, before.size());
  Array<int32_t> ids_in(device, ids);
  NEMO_LAUNCH(device, embedding_forward, y.data(), accumulate, ids_in.data(), table_in.data(), shape);
  if (accumulate) check_close<T>(y.values(), expected);
  else CHECK(to_doubles(y.values()) == expected);  // a copy
}

template <class T, class Grad>
void check_backward(const TestDevice& device, const EmbeddingShape& shape, bool accumulate) {
  CAPTURE(shape.tokens, shape.rows, shape.hidden, shape.first_row, accumulate);
  const auto dy = random_values<T>(shape.tokens * shape.hidden, 3);
  const auto before = random_values<Grad>(shape.rows * shape.hidden, 4);
  const auto ids = some_ids(shape);
  std::vector<double> expected = accumulate ? to_doubles(before) : std::vector<double>(before.size(), 0.0);
  for (int64_t t = 0; t < shape.tokens; ++t) {
    const int64_t row = ids[t] - shape.first_row;
    if (row < 0 || row >= shape.rows) continue;
    for (int64_t h = 0; h < shape.hidden; ++h) expected[row * shape.hidden + h] += static_cast<double>(static_cast<float>(dy[t * shape.hidden + h]));
  }
  Array<T> dy_in(device, dy);
  Array<int32_t> ids_in(device, ids);
  const auto run = [&] {
    Array<Grad> dtable = accumulate ? Array<Grad>(device, before) : Array<Grad>(device, before.size());
    if (device.is_cuda()) {
      Array<uint8_t> scratch(device, embedding_scratch_bytes_cuda(shape));
      embedding_backward_cuda(dtable.data(), accumulate, dy_in.data(), ids_in.data(), shape, scratch.data(), device.stream());
      scratch.values();  // looks at the guard
    } else {
      embedding_backward_cpu(dtable.data(), accumulate, dy_in.data(), ids_in.data(), shape);
    }
    return dtable.values();
  };
  const auto dtable = run();
  check_close<Grad>(dtable, expected);
  if (device.is_cuda()) CHECK(same_bits(dtable, run()));
  else check_same_bits_for_any_thread_count(run);
}

const EmbeddingShape kShapes[] = {{1, 1, 1}, {7, 5, 9}, {100, 65, 128}, {700, 300, 264}, {64, 40, 72, 100}, {3000, 17, 33}};

void lookup(const TestDevice& device) {
  for (const EmbeddingShape& shape : kShapes)
    for (const bool accumulate : {false, true}) {
      check_forward<float>(device, shape, accumulate);
      check_forward<bf16>(device, shape, accumulate);
    }
}

void gradient(const TestDevice& device) {
  for (const EmbeddingShape& shape : kShapes)
    for (const bool accumulate : {false, true}) {
      check_backward<float, float>(device, shape, accumulate);
      check_backward<bf16, float>(device, shape, accumulate);
      check_backward<bf16, bf16>(device, shape, accumulate);
    }
}

}  // namespace

NEMO_KERNEL_TEST("embedding looks rows up, zero outside its slice", "[embedding]", lookup)
NEMO_KERNEL_TEST("embedding backward adds every token to its row", "[embedding]", gradient)
