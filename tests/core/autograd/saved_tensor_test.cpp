#include "core/autograd/saved_tensor.h"

#include <catch2/catch.hpp>
#include <vector>

#include "core/autograd/tape.h"
#include "core/ops/attention.h"
#include "core/ops/copy.h"
#include "core/ops/elementwise.h"

using namespace nemo;

namespace {

Tensor filled(ExecContext& ctx, const Shape& shape, DType dtype, uint32_t seed) {
  std::vector<float> values(static_cast<size_t>(shape.numel()));
  for (float& value : values)
    value = static_cast<float>((seed = seed * 1664525u + 1013904223u) >> 8) / static_cast<float>(1 << 23) - 1;
  const Tensor tensor = ctx.empty(shape, dtype);
  write_fp32(ctx, tensor, values.data());
  return tensor;
}

// An op that hands on its input, and whose backward shows what was saved of it.
Tensor reading_later(ExecContext& ctx, const Tensor& x, std::vector<float>& seen) {
  const Tensor y = x.with_id(ctx.next_id());
  ctx.record({.op = "reading_later",
              .inputs = {x},
              .saved = {x},
              .outputs = {y},
              .grad_input = [&seen](Backward& back) -> std::vector<Tensor> {
                seen = read_fp32(back.ctx(), back.saved(0));
                return {back.grad_output(0)};
              }});
  return y;
}

// What a later op reads of an attention's result is what the forward gave, kept or not. So are the gradients, where the
// library's backward, which adds in any order, does not serve.
void attention_is_made_again(Device device, bool deterministic) {
  for (const DType dtype : {DType::fp32, DType::bf16}) {
    CAPTURE(name(dtype));
    std::vector<float> gradients[2];
    for (const bool again : {false, true}) {
      Runtime runtime(device, false);
      ExecContext ctx(runtime, dtype, 3);
      ctx.set_deterministic(deterministic);
      const int64_t length = 64, tokens = 2 * length;
      TokenLayout layout{.num_tokens = tokens,
                         .num_segments = 2,
                         .max_query_length = length,
                         .max_key_length = length,
                         .uniform = true};
      const int32_t begins[] = {0, static_cast<int32_t>(length)},
                    ends[] = {static_cast<int32_t>(length), static_cast<int32_t>(tokens)};
      for (Tensor* edge : {&layout.query_begin, &layout.query_end, &layout.key_begin, &layout.key_end}) {
        *edge = ctx.empty({2}, DType::int32);
        upload(ctx, *edge, edge == &layout.query_begin || edge == &layout.key_begin ? begins : ends);
      }
      const Tensor q = filled(ctx, {tokens, 4, 64}, dtype, 1), k = filled(ctx, {tokens, 2, 64}, dtype, 2),
                   v = filled(ctx, {tokens, 2, 64}, dtype, 3), dout = filled(ctx, {tokens, 4, 64}, dtype, 4);
      Tape tape;
      const Recording recording(ctx, tape);
      for (const Tensor* x : {&q, &k, &v}) tape.watch(*x);
      std::vector<float> given, seen;
      {
        const Tensor out = attention(ctx, q, k, v, layout, {.scale = 0.125f, .make_again = again});
        given = read_fp32(ctx, out);
        tape.backward(ctx, {{reading_later(ctx, out, seen), dout}});
      }
      CHECK(seen == given);
      for (const Tensor* x : {&q, &k, &v})
        for (const float value : read_fp32(ctx, tape.gradient(*x).view({tokens, -1})))
          gradients[again].push_back(value);
    }
    if (deterministic) CHECK(gradients[0] == gradients[1]);
  }
}

}  // namespace

TEST_CASE("a value is made once for all its readers, and goes with the last", "[recompute]") {
  Runtime runtime(Device{}, false);
  ExecContext ctx(runtime, DType::fp32);
  SavedTensors saved;
  int times = 0;
  Tensor x = filled(ctx, {3, 4}, DType::fp32, 1), y = add(ctx, x, x);
  const std::vector<float> expected = read_fp32(ctx, y), row = read_fp32(ctx, y.slice(0, 1, 1));
  saved.make_again(ctx, {y}, {x}, [&times](ExecContext& ctx, const std::vector<Tensor>& from) {
    ++times;
    return std::vector{add(ctx, from[0], from[0])};
  });
  SavedTensor first = saved.keep(ctx, y), second = saved.keep(ctx, y.slice(0, 1, 1)), source = saved.keep(ctx, x);
  saved.forget_values();
  const size_t before = runtime.arena().stats().live_bytes;
  x = y = Tensor();
  CHECK(runtime.arena().stats().live_bytes == before - 512);  // y is gone, x is kept

  Tensor whole = SavedTensors::restore(ctx, first);
  first = {};
  Tensor part = SavedTensors::restore(ctx, second);
  CHECK(times == 1);
  CHECK(read_fp32(ctx, whole) == expected);
  CHECK(read_fp32(ctx, part) == row);
  second = {}, whole = {};
  CHECK(part.sole_owner());  // may be overwritten by its last reader
  part = {};
  Tensor last = SavedTensors::restore(ctx, source);
  source = {};
  CHECK(last.sole_owner());  // what it was made from is held by nobody else
}

TEST_CASE("a value nobody saved is never made", "[recompute]") {
  Runtime runtime(Device{}, false);
  ExecContext ctx(runtime, DType::fp32);
  Tape tape;
  const Recording recording(ctx, tape);
  const Tensor x = filled(ctx, {3, 4}, DType::fp32, 1), y = x.with_id(ctx.next_id()),
               dy = filled(ctx, {3, 4}, DType::fp32, 2);
  tape.watch(x);
  int times = 0;
  make_again(ctx, {y}, {x}, [&times](ExecContext&, const std::vector<Tensor>& from) {
    ++times;
    return from;
  });
  tape.backward(ctx, {{add(ctx, x, x), dy}});
  CHECK(times == 0);
  const std::vector<float> one = read_fp32(ctx, dy), two = read_fp32(ctx, tape.gradient(x));
  for (size_t i = 0; i < one.size(); ++i) CHECK(two[i] == 2 * one[i]);
}

TEST_CASE("a region without anything to learn is not run again", "[recompute]") {
  Runtime runtime(Device{}, false);
  ExecContext ctx(runtime, DType::fp32);
  Tape tape;
  const Recording recording(ctx, tape);
  int times = 0;
  const Recompute doubled = [&times](ExecContext& ctx, const std::vector<Tensor>& from) {
    ++times;
    return std::vector{add(ctx, from[0], from[0])};
  };
  const Tensor fixed = filled(ctx, {3, 4}, DType::fp32, 1), wanted = filled(ctx, {3, 4}, DType::fp32, 2);
  tape.watch(wanted);
  const Tensor a = tape.checkpoint(ctx, {fixed}, doubled)[0], b = tape.checkpoint(ctx, {wanted}, doubled)[0];
  CHECK(times == 2);
  CHECK(tape.num_records() == 1);
  tape.backward(ctx, {{a, wanted}, {b, fixed}});
  CHECK(times == 3);
  const std::vector<float> dy = read_fp32(ctx, fixed), dx = read_fp32(ctx, tape.gradient(wanted));
  for (size_t i = 0; i < dy.size(); ++i) CHECK(dx[i] == 2 * dy[i]);
}

TEST_CASE("attention is made again to the bit", "[recompute]") {
  attention_is_made_again({}, true);
}
TEST_CASE("attention is made again to the bit on CUDA", "[.][cuda]") {
  attention_is_made_again({.type = DeviceType::cuda}, true);
  attention_is_made_again({.type = DeviceType::cuda}, false);
}
