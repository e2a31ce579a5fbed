#include "kernels/elementwise/elementwise.h"

#include "tests/kernels/device_array.h"
#include "tests/kernels/threads.h"

using namespace nemo;
using namespace nemo::kernels;
using namespace nemo::testing;

namespace {

template <class To, class From>
void check_convert(const TestDevice& device, int64_t count) {
  const auto x = random_values<From>(count, 1, 100.0);
  std::vector<To> expected;
  for (const From& value : x) expected.push_back(static_cast<To>(static_cast<float>(value)));
  Array<From> x_in(device, x);
  Array<To> y(device, count);
  if constexpr (std::is_same_v<To, fp16> || std::is_same_v<From, fp16>) convert_cpu(y.data(), x_in.data(), count);
  else NEMO_LAUNCH(device, convert, y.data(), x_in.data(), count);
  CHECK(same_bits(y.values(), expected));
}

void conversions(const TestDevice& device) {
  for (const int64_t count : {1, 17, 1003, 70001}) {
    check_convert<float, float>(device, count);
    check_convert<float, bf16>(device, count);
    check_convert<bf16, float>(device, count);
    check_convert<bf16, bf16>(device, count);
    if (device.is_cuda()) continue;
    check_convert<float, fp16>(device, count);
    check_convert<fp16, float>(device, count);
    check_convert<bf16, fp16>(device, count);
    check_convert<fp16, bf16>(device, count);
  }
}

template <class T>
void check_add(const TestDevice& device, int64_t count) {
  const auto a = random_values<T>(count, 1), b = random_values<T>(count, 2);
  std::vector<T> expected;
  for (int64_t i = 0; i < count; ++i) expected.push_back(static_cast<T>(static_cast<float>(a[i]) + static_cast<float>(b[i])));
  Array<T> a_in(device, a), b_in(device, b), y(device, count);
  NEMO_LAUNCH(device, add, y.data(), a_in.data(), b_in.data(), count);
  CHECK(same_bits(y.values(), expected));
  NEMO_LAUNCH(device, add, b_in.data(), a_in.data(), b_in.data(), count);
  CHECK(same_bits(b_in.values(), expected));
}

void additions(const TestDevice& device) {
  for (const int64_t count : {1, 17, 1003, 70001}) {
    check_add<float>(device, count);
    check_add<bf16>(device, count);
  }
}

template <class T>
void check_copy(const TestDevice& device, int64_t rows, int64_t columns, int64_t to_stride, int64_t from_stride) {
  CAPTURE(rows, columns, to_stride, from_stride);
  const auto from = random_values<T>(rows * from_stride, 1), before = random_values<T>(rows * to_stride, 2);
  auto expected = before;
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c) expected[r * to_stride + c] = from[r * from_stride + c];
  Array<T> from_in(device, from), to(device, before);
  NEMO_LAUNCH(device, copy_columns, static_cast<void*>(to.data()), static_cast<const void*>(from_in.data()),
              ColumnsShape{rows, columns, to_stride, from_stride, sizeof(T)});
  CHECK(same_bits(to.values(), expected));
}

void column_copies(const TestDevice& device) {
  check_copy<float>(device, 5, 8, 24, 16);
  check_copy<float>(device, 33, 7, 9, 11);
  check_copy<bf16>(device, 40, 64, 192, 64);
  check_copy<bf16>(device, 1, 3, 3, 5);
}

template <class T, class Grad>
void check_bias_grad(const TestDevice& device, const BiasShape& shape, bool accumulate) {
  CAPTURE(shape.rows, shape.columns, shape.stride, accumulate);
  const auto dy = random_values<T>(shape.rows * shape.stride, 1);
  const auto before = random_values<Grad>(shape.columns, 2);
  std::vector<double> expected(shape.columns, 0.0);
  for (int64_t c = 0; c < shape.columns; ++c) {
    if (accumulate) expected[c] = static_cast<double>(static_cast<float>(before[c]));
    for (int64_t r = 0; r < shape.rows; ++r) expected[c] += static_cast<double>(static_cast<float>(dy[r * shape.stride + c]));
  }
  Array<T> dy_in(device, dy);
  const auto run = [&] {
    Array<Grad> dbias = accumulate ? Array<Grad>(device, before) : Array<Grad>(device, shape.columns);
    Array<float> scratch(device, kBiasRowBlocks * shape.columns);
    NEMO_LAUNCH(device, bias_grad, dbias.data(), accumulate, dy_in.data(), shape, scratch.data());
    scratch.values();  // looks at the guard
    return dbias.values();
  };
  check_close<Grad>(run(), expected);
  if (!device.is_cuda()) check_same_bits_for_any_thread_count(run);
}

void bias_gradients(const TestDevice& device) {
  for (const BiasShape& shape : {BiasShape{1, 1, 1}, {70, 33, 40}, {768, 128, 384}, {20000, 9, 9}, {129, 3072, 3072}})
    for (const bool accumulate : {false, true}) {
      check_bias_grad<float, float>(device, shape, accumulate);
      check_bias_grad<bf16, float>(device, shape, accumulate);
      check_bias_grad<bf16, bf16>(device, shape, accumulate);
    }
}

template <class T>
void check_dropout(const TestDevice& device, int64_t rows, int64_t columns) {
  CAPTURE(rows, columns);
  const float rate = 0.2f;
  const RandomKey key{7, 11};
  StepState state;
  state.step = 3;
  const auto x = random_values<T>(rows * columns, 1);
  std::vector<int64_t> token_ids;
  for (int64_t r = 0; r < rows; ++r) token_ids.push_back(1000 + 3 * r);
  std::vector<double> expected;
  int64_t dropped = 0;
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c) {
      const Philox4 draw = philox(key, 3, token_ids[r] * ((columns + 3) / 4) + c / 4);
      const uint32_t words[] = {draw.x, draw.y, draw.z, draw.w};
      const bool drop = uniform(words[c % 4]) < rate;
      dropped += drop;
      expected.push_back(drop ? 0.0 : static_cast<double>(static_cast<float>(x[r * columns + c])) / (1 - static_cast<double>(rate)));
    }
  Array<T> x_in(device, x), y(device, x.size());
  Array<int64_t> ids_in(device, token_ids);
  Array<StepState> state_in(device, std::vector<StepState>{state});
  const DropoutShape shape{rows, columns, rate};
  NEMO_LAUNCH(device, dropout, y.data(), x_in.data(), ids_in.data(), key, state_in.data(), shape);
  check_close<T>(y.values(), expected);
  NEMO_LAUNCH(device, dropout, x_in.data(), x_in.data(), ids_in.data(), key, state_in.data(), shape);
  CHECK(same_bits(x_in.values(), y.values()));
  const double count = static_cast<double>(rows * columns);
  if (count > 10000) CHECK(static_cast<double>(dropped) / count == Approx(0.2).margin(5 * std::sqrt(0.16 / count)));
}

void dropouts(const TestDevice& device) {
  for (const auto& [rows, columns] : {std::pair<int64_t, int64_t>{1, 1}, {5, 7}, {64, 384}, {31, 1001}}) {
    check_dropout<float>(device, rows, columns);
    check_dropout<bf16>(device, rows, columns);
  }
}

}  // namespace

NEMO_KERNEL_TEST("convert rounds through fp32", "[elementwise]", conversions)
NEMO_KERNEL_TEST("add, also in place", "[elementwise]", additions)
NEMO_KERNEL_TEST("copy_columns leaves the other columns alone", "[elementwise]", column_copies)
NEMO_KERNEL_TEST("bias_grad sums rows", "[elementwise]", bias_gradients)
NEMO_KERNEL_TEST("dropout draws by token and column", "[elementwise]", dropouts)
