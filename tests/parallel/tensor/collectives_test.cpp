#include "parallel/tensor/collectives.h"

#include <catch2/catch.hpp>

#include "core/autograd/tape.h"
#include "core/ops/copy.h"
#include "parallel/tensor/partial_gradients.h"
#include "tests/parallel/ranks.h"

using namespace nemo;
using namespace nemo::test;

namespace {

// [rows, 2]: 100 * (rank + 1) + element
Tensor numbers(Rank& rank, int64_t rows) {
  std::vector<float> values;
  for (int64_t i = 0; i < 2 * rows; ++i) values.push_back(static_cast<float>(100 * (rank.rank + 1) + i));
  return from_host(rank.ctx, values).view({rows, 2}).with_id(rank.ctx.next_id());
}

// The gradient of x where y = op(x) and y's gradient is numbers().
template <class Op>
std::pair<std::vector<float>, std::vector<float>> value_and_gradient(Rank& rank, int64_t rows, const Op& op) {
  Tape tape;
  const Recording recording(rank.ctx, tape);
  const Tensor x = numbers(rank, rows);
  tape.watch(x);
  const Tensor y = op(x);
  tape.backward(rank.ctx, {{y, numbers(rank, y.dim(0))}});
  return {read_fp32(rank.ctx, y), read_fp32(rank.ctx, tape.gradient(x))};
}

using Floats = std::vector<float>;
void expect_floats(const Floats& actual, const Floats& expected, const std::string& what) {
  std::string text;
  for (const float value : actual) text += std::to_string(value) + " ";
  expect(actual == expected, what + ": " + text);
}

}  // namespace

TEST_CASE("collectives of tensor ranks are each other's gradients", "[parallel][tensor]") {
  CHECK_NOTHROW(run_ranks(2, [](Rank& rank) {
    const ProcessGroup group = rank.world();
    const float own = static_cast<float>(100 * (rank.rank + 1));
    const Floats mine{own, own + 1, own + 2, own + 3}, sum{300, 302, 304, 306};
    auto [summed, summed_gradient] =
        value_and_gradient(rank, 2, [&](const Tensor& x) { return sum_over_ranks(rank.ctx, x, group, "x"); });
    expect_floats(summed, sum, "sum");
    expect_floats(summed_gradient, mine, "sum gradient");
    auto [scattered, scattered_gradient] =
        value_and_gradient(rank, 2, [&](const Tensor& x) { return sum_and_scatter_rows(rank.ctx, x, group, "x"); });
    expect_floats(scattered, rank.rank == 0 ? Floats{300, 302} : Floats{304, 306}, "scatter");
    expect_floats(scattered_gradient, {100, 101, 200, 201}, "scatter gradient");
  }));
}

TEST_CASE("rows that do not divide over the ranks are an error", "[parallel][tensor]") {
  CHECK_THROWS_WITH(
      run_ranks(2, [](Rank& rank) { summed_rows(rank.ctx, numbers(rank, 3), rank.world(), "mlp.down output"); }),
      Catch::Matchers::Contains("mlp.down output: 3 rows: do not divide over 2 ranks"));
}

TEST_CASE("partial gradients are summed over the ranks that share a parameter", "[parallel][tensor]") {
  CHECK_NOTHROW(run_ranks(4, [](Rank& rank) {
    ParameterStore store;
    for (const char* name : {"cut", "everywhere", "shared"})
      store.declare("block", name, {128}, Initializer::constant(0));
    store.find("everywhere")->copies = {.count = 4, .first = rank.rank == 0, .partial = true};
    store.find("shared")->copies = {.count = 2, .first = rank.rank % 2 == 0, .partial = true};
    store.allocate(rank.ctx, {}, true);
    FlatBuffer& flat = store.flat_buffers().front();
    upload(rank.ctx, flat.gradients,
           Floats(static_cast<size_t>(flat.numel), static_cast<float>(1 << rank.rank)).data());
    sum_partial_gradients(rank.ctx, flat, rank.world());
    expect_equal(store.read_gradient(rank.ctx, *store.find("cut"))[5], static_cast<float>(1 << rank.rank), "cut");
    expect_equal(store.read_gradient(rank.ctx, *store.find("everywhere"))[5], 15.0f, "everywhere");
    expect_equal(store.read_gradient(rank.ctx, *store.find("shared"))[5], rank.rank < 2 ? 3.0f : 12.0f, "shared");
  }));
}
