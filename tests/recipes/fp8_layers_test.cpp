#include "recipes/fp8_layers.h"

#include <catch2/catch.hpp>

#include "core/error.h"
#include "recipes/dry_run.h"
#include "recipes/plan.h"
#include "recipes/schema.h"

using namespace nemo;

namespace {

Recipe parse(const std::string& yaml) {
  return parse_recipe(yaml, "r.yaml", {}, RecipeFolders({}));
}

std::string chosen(const std::string& trainer) {
  const auto in_fp8 = blocks_in_fp8(fp8_layers(parse("trainer: {" + trainer + "}\nmodel: {num_layers: 12}")));
  std::string blocks;
  for (const char* block :
       {"embedding", "layers.0", "layers.1", "layers.2", "layers.9", "layers.10", "layers.11", "head"})
    if (in_fp8(block)) blocks += std::string(block) + " ";
  return blocks;
}

}  // namespace

TEST_CASE("the layers whose products are in fp8", "[recipes][fp8]") {
  CHECK(chosen("precision: bf16-mixed") == "");
  CHECK(chosen("precision: fp8-mixed") == "layers.0 layers.1 layers.2 layers.9 layers.10 layers.11 ");
  CHECK(chosen("precision: fp8-mixed, first_last_layers_bf16: true") == "layers.1 layers.2 layers.9 layers.10 ");
  CHECK(chosen("precision: fp8-mixed, first_last_layers_bf16: true, num_layers_at_start_in_bf16: 0, "
               "num_layers_at_end_in_bf16: 2") == "layers.0 layers.1 layers.2 layers.9 ");
}

TEST_CASE("what fp8-mixed cannot run is refused with its place", "[recipes][fp8]") {
  CHECK_THROWS_WITH(parse("trainer: {precision: fp8-mixed}\nmodel:\n  hidden_size: 40\n  num_attention_heads: 4\n"),
                    "r.yaml:3: model.hidden_size: the width of the residual stream is 40, and fp8 products take "
                    "multiples of 16; try: trainer.precision=bf16-mixed");
  CHECK_THROWS_WITH(parse("trainer: {precision: fp8-mixed}\nmodel: {ffn_hidden_size: 100}\n"),
                    "r.yaml:2: model.ffn_hidden_size: the width of the feed-forward block is 100, and fp8 products "
                    "take multiples of 16; try: trainer.precision=bf16-mixed");
  CHECK_THROWS_WITH(parse("trainer: {precision: fp8-mixed}\nmodel: {ffn_hidden_size: 96}\nparallelism: "
                          "{tensor_model_parallel_size: 4}\n"),
                    "r.yaml:2: model.ffn_hidden_size: the width of the feed-forward block of a tensor rank is 24, and "
                    "fp8 products take multiples of 16; try: trainer.precision=bf16-mixed");
  CHECK_THROWS_WITH(parse("trainer: {precision: fp8-mixed}\nmodel: {seq_length: 33}\ndata: {micro_batch_size: 4, "
                          "global_batch_size: 4}\n"),
                    "r.yaml:3: data.micro_batch_size: micro_batch_size times model.seq_length is 132, and fp8 products "
                    "take multiples of 16; try: trainer.precision=bf16-mixed");
  CHECK_THROWS_WITH(parse("trainer:\n  precision: fp8-mixed\n  first_last_layers_bf16: true\nmodel: {num_layers: 2}\n"),
                    "r.yaml:3: trainer.first_last_layers_bf16: leaves none of the 2 layers to fp8 (1 first, 1 last); "
                    "try: trainer.precision=bf16-mixed, or fewer layers in bf16");
  CHECK_NOTHROW(parse("model: {seq_length: 33}"));
}

TEST_CASE("layers kept in bf16 without fp8 say that they have no effect", "[recipes][fp8]") {
  CHECK(parse("trainer: {first_last_layers_bf16: true}").notices ==
        std::vector<std::string>{
            "r.yaml:1: trainer.first_last_layers_bf16 has no effect: trainer.precision is not fp8-mixed"});
  CHECK(parse("trainer: {precision: fp8-mixed, num_layers_at_end_in_bf16: 2}").notices ==
        std::vector<std::string>{
            "r.yaml:1: trainer.num_layers_at_end_in_bf16 has no effect: trainer.first_last_layers_bf16 is not set"});
  CHECK(parse("trainer: {precision: fp8-mixed, first_last_layers_bf16: true, num_layers_at_end_in_bf16: 2}")
            .notices.empty());
}

TEST_CASE("fp8 costs two bytes for each weight of a layer and saves activations", "[recipes][fp8]") {
  const auto memory = [](const std::string& precision) {
    const Recipe recipe = parse("trainer: {precision: " + precision +
                                "}\nmodel: {num_layers: 4, hidden_size: 128, num_attention_heads: 4, vocab_size: "
                                "512}\ndata: {mock: true, micro_batch_size: 16, global_batch_size: 16}\n");
    return estimate_memory(recipe, make_plan(recipe, {}), DeviceType::cuda);
  };
  const ArenaStats bf16 = memory("bf16-mixed"), fp8 = memory("fp8-mixed");
  const auto bytes = [](const ArenaStats& stats, MemoryTag tag) {
    return stats.at_peak_by_tag[static_cast<size_t>(tag)];
  };
  const size_t weights = 4 * 12 * 128 * 128;  // of the linears
  CHECK(bytes(fp8, MemoryTag::parameters) == bytes(bf16, MemoryTag::parameters) + 2 * weights + 4 * 4 * 512);
  CHECK(bytes(fp8, MemoryTag::activations) < bytes(bf16, MemoryTag::activations));
}
