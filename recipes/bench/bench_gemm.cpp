#include "recipes/bench/bench_gemm.h"

#include "core/ops/launch.h"
#include "core/ops/linear_cross_entropy.h"
#include "recipes/bench/random_tensor.h"

namespace nemo {
namespace {

// y [tokens, out] = x [tokens, in] W^T with W [out, in], and the two products of its backward.
void add_linear(std::vector<Product>& products, const std::string& name, int64_t tokens, int64_t in, int64_t out,
                DType dtype, DType gradients, int64_t per_step, bool accumulate = false) {
  products.push_back({name + " forward", tokens, out, in, {.transpose_b = true}, dtype, dtype, per_step});
  products.push_back({name + " input gradient", tokens, in, out, {}, dtype, dtype, per_step});
  products.push_back({name + " weight gradient",
                      out,
                      in,
                      tokens,
                      {.transpose_a = true, .accumulate = accumulate},
                      dtype,
                      gradients,
                      per_step});
}

struct Operands {
  Tensor a, b, c;
};

Operands operands_of(ExecContext& ctx, const Product& product, uint64_t number) {
  const auto matrix = [&](int64_t rows, int64_t columns, bool transposed) {
    return random_tensor(ctx, transposed ? Shape{columns, rows} : Shape{rows, columns}, product.in, number++);
  };
  Operands operands{matrix(product.m, product.k, product.flags.transpose_a),
                    matrix(product.k, product.n, product.flags.transpose_b),
                    {}};
  operands.c = random_tensor(ctx, {product.m, product.n}, product.out, number);
  return operands;
}

}  // namespace

std::vector<Product> step_products(ExecContext& ctx, const DecoderConfig& model, int64_t padded_vocab_size,
                                   int64_t tokens, DType gradients) {
  const DType dtype = ctx.compute_dtype();
  const int64_t heads = model.num_attention_heads * model.head_dim, groups = model.num_query_groups * model.head_dim,
                layers = model.num_layers;
  std::vector<Product> products;
  add_linear(products, "attention wq+wk+wv", tokens, model.hidden_size, heads + 2 * groups, dtype, gradients, layers);
  add_linear(products, "attention wo", tokens, heads, model.hidden_size, dtype, gradients, layers);
  add_linear(products, model.gated() ? "mlp gate+up" : "mlp up", tokens, model.hidden_size,
             (model.gated() ? 2 : 1) * model.ffn_hidden_size, dtype, gradients, layers);
  add_linear(products, "mlp down", tokens, model.ffn_hidden_size, model.hidden_size, dtype, gradients, layers);
  // The logits are made a chunk of tokens at a time; all chunks but the first add to the weight's gradient.
  const int64_t rows = cross_entropy_chunk_rows(ctx, tokens, padded_vocab_size, dtype), rest = tokens % rows;
  add_linear(products, "head", rows, model.hidden_size, padded_vocab_size, dtype, gradients, tokens / rows,
             tokens > rows);
  if (rest > 0)
    add_linear(products, "head, last chunk", rest, model.hidden_size, padded_vocab_size, dtype, gradients, 1, true);
  return products;
}

std::vector<ProductTime> time_products(ExecContext& ctx, const std::vector<Product>& products) {
  std::vector<ProductTime> times;
  for (const Product& product : products) {
    std::vector<Operands> sets{operands_of(ctx, product, 0)};
    const int64_t copies = copies_beyond_cache(sets[0].a.bytes() + sets[0].b.bytes() + sets[0].c.bytes());
    while (static_cast<int64_t>(sets.size()) < copies) sets.push_back(operands_of(ctx, product, sets.size() * 3));
    const auto multiply = [&](int64_t number) {
      const Operands& set = sets[static_cast<size_t>(number % copies)];
      gemm(ctx, set.c, set.a, set.b, product.flags);
    };
    times.push_back({product, time_launches(ctx.runtime(), multiply)});
  }
  return times;
}

}  // namespace nemo
