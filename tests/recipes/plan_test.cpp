#include "recipes/plan.h"

#include <catch2/catch.hpp>

#include "core/error.h"
#include "recipes/mesh_checks.h"
#include "recipes/schema.h"

using namespace nemo;

namespace {

Recipe parse(const std::string& yaml) {
  return parse_recipe(yaml, "r.yaml", {}, RecipeFolders({}));
}

// "key: reason; try: suggestion" of a Llama 3 8B cut as asked.
void cut(int64_t world_size, const std::string& parallelism, const std::string& rest = "") {
  check_mesh(parse("model: {preset: llama3_8b}\nparallelism:\n  " + parallelism + "\n" + rest), world_size);
}

}  // namespace

TEST_CASE("batch arithmetic", "[recipes]") {
  const Recipe recipe = parse(
      "trainer: {max_steps: 10}\nmodel: {preset: gpt2_124m}\ndata: {micro_batch_size: 2, global_batch_size: 48}\n");
  const Plan plan = make_plan(recipe, {.world_size = 4, .tokenizer_vocab_size = std::nullopt});
  CHECK(plan.data_parallel_size == 4);
  CHECK(plan.gradient_accumulation_steps == 6);
  CHECK(plan.samples_per_step == 48);
  CHECK(plan.tokens_per_step == 48 * 1024);
  CHECK(plan.total_tokens == 10 * 48 * 1024);
  CHECK(plan.padded_vocab_size == 50304);
  CHECK(plan.num_parameters == 124439808);
  CHECK(plan.flops_per_token.has_value());
}

TEST_CASE("model parallelism leaves fewer replicas and pads the vocabulary further", "[recipes]") {
  const Recipe recipe = parse(
      "model: {preset: gpt2_124m}\ndata: {global_batch_size: 16}\n"
      "parallelism: {tensor_model_parallel_size: 4, pipeline_model_parallel_size: 2, context_parallel_size: 2}\n");
  CHECK(natural_world_size(recipe) == 16);
  const Plan plan = make_plan(recipe, {.world_size = 32, .tokenizer_vocab_size = std::nullopt});
  CHECK(plan.data_parallel_size == 2);
  CHECK(plan.expert_data_parallel_size == 16);
  CHECK(plan.gradient_accumulation_steps == 8);
  CHECK(plan.padded_vocab_size == 50688);
  CHECK(natural_world_size(parse("cluster: {type: slurm, num_nodes: 4, gpus_per_node: 8}")) == 32);
}

TEST_CASE("the vocabulary comes from the recipe or the tokenizer, and must hold the tokenizer", "[recipes]") {
  const Recipe open = parse("model: {num_layers: 2}\n"), fixed = parse("model:\n  vocab_size: 300\n");
  const Plan unknown = make_plan(open, {});
  CHECK_FALSE(unknown.vocab_size);
  CHECK_FALSE(unknown.padded_vocab_size);
  CHECK_FALSE(unknown.num_parameters);
  CHECK_FALSE(unknown.flops_per_token);
  CHECK(make_plan(open, {.world_size = 1, .tokenizer_vocab_size = 257}).padded_vocab_size == 384);
  CHECK(make_plan(fixed, {.world_size = 1, .tokenizer_vocab_size = 257}).vocab_size == 300);
  CHECK_THROWS_WITH(make_plan(fixed, {.world_size = 1, .tokenizer_vocab_size = 301}),
                    "r.yaml:2: model.vocab_size: 300 is below the tokenizer's 301 tokens; try: model.vocab_size=301, "
                    "or another tokenizer");
}

TEST_CASE("layouts that can be", "[recipes]") {
  CHECK_NOTHROW(cut(1, "tensor_model_parallel_size: 1"));
  CHECK_NOTHROW(cut(8, "{tensor_model_parallel_size: 8, sequence_parallel: true}"));
  CHECK_NOTHROW(cut(16, "tensor_model_parallel_size: 16"));  // 8 groups, each on two ranks
  CHECK_NOTHROW(cut(8, "{pipeline_model_parallel_size: 4, virtual_pipeline_model_parallel_size: 2}",
                    "data: {global_batch_size: 8}"));
  CHECK_NOTHROW(cut(8, "{context_parallel_size: 8, cp_comm_type: a2a}"));
  CHECK_NOTHROW(cut(8, "num_distributed_optimizer_instances: 2"));
}

TEST_CASE("each rule of the mesh is an error that says what would do", "[recipes]") {
  const auto key = [](const char* name) { return std::string("r.yaml:3: parallelism.") + name + ": "; };
  CHECK_THROWS_WITH(cut(6, "{tensor_model_parallel_size: 4}"),
                    key("tensor_model_parallel_size") +
                        "tensor x pipeline x context = 4 x 1 x 1 does not divide the 6 ranks; "
                        "try: start a multiple of 4 ranks, or lower one of the sizes");
  CHECK_THROWS_WITH(cut(3, "{pipeline_model_parallel_size: 2}"),
                    Catch::StartsWith(key("pipeline_model_parallel_size") + "tensor x pipeline x context = 1 x 2 x 1"));
  CHECK_THROWS_WITH(cut(3, "{expert_model_parallel_size: 2}"),
                    key("expert_model_parallel_size") +
                        "expert tensor x expert x pipeline = 1 x 2 x 1 does not divide the 3 ranks; "
                        "try: start a multiple of 2 ranks, or lower one of the sizes");
  CHECK_THROWS_WITH(cut(2, "{expert_model_parallel_size: 2}"),
                    key("expert_model_parallel_size") + "the model has no experts; try: use 1");
  CHECK_THROWS_WITH(cut(2, "{expert_tensor_parallel_size: 2}"),
                    key("expert_tensor_parallel_size") + "the model has no experts; try: use 1");
  CHECK_THROWS_WITH(cut(4, "{num_distributed_optimizer_instances: 3}"),
                    key("num_distributed_optimizer_instances") +
                        "3 does not divide the 4 ranks that share the state; try: use 1, 2 or 4");
  CHECK_THROWS_WITH(
      cut(5, "{tensor_model_parallel_size: 5}"),
      key("tensor_model_parallel_size") + "5 does not divide num_attention_heads (32); try: use 1, 2, 4, 8, 16 or 32");
  CHECK_THROWS_WITH(cut(4, "{tensor_model_parallel_size: 4}",
                        "model: {preset: llama3_8b, num_query_groups: 6, num_attention_heads: 24, head_dim: 128}"),
                    Catch::Contains("given twice"));
  CHECK_THROWS_WITH(
      cut(3, "{pipeline_model_parallel_size: 3}"),
      key("pipeline_model_parallel_size") + "3 does not divide num_layers (32); try: use 1, 2, 4, 8, 16 or 32");
  CHECK_THROWS_WITH(
      cut(1, "{virtual_pipeline_model_parallel_size: 2}"),
      key("virtual_pipeline_model_parallel_size") +
          "interleaving needs more than one pipeline stage; try: pipeline_model_parallel_size=2, or 1 here");
  CHECK_THROWS_WITH(cut(2, "{pipeline_model_parallel_size: 2, virtual_pipeline_model_parallel_size: 3}"),
                    key("virtual_pipeline_model_parallel_size") +
                        "3 does not divide the 16 layers of a stage; try: use 1, 2, 4, 8 or 16");
  CHECK_THROWS_WITH(cut(4, "{pipeline_model_parallel_size: 4, virtual_pipeline_model_parallel_size: 2}",
                        "data:\n  global_batch_size: 6"),
                    "r.yaml:5: data.global_batch_size: 6 micro batches are not a multiple of "
                    "pipeline_model_parallel_size (4), as interleaving needs; try: use 8");
  CHECK_THROWS_WITH(cut(2, "{pipeline_model_parallel_size: 2, pipeline_model_parallel_layout: [16, 15]}"),
                    Catch::StartsWith(key("pipeline_model_parallel_layout")) &&
                        Catch::Contains("has 31 layers, the model 32"));
  CHECK_NOTHROW(cut(3, "{pipeline_model_parallel_size: 3, pipeline_model_parallel_layout: [10, 12, 10]}"));
  CHECK_THROWS_WITH(cut(1, "{pipeline_schedule: zero_bubble}"),
                    key("pipeline_schedule") + "zero_bubble needs more than one pipeline stage; try: "
                                               "pipeline_model_parallel_size=2, or 1f1b here");
  CHECK_THROWS_WITH(cut(2,
                        "{pipeline_schedule: zero_bubble, pipeline_model_parallel_size: 2, "
                        "virtual_pipeline_model_parallel_size: 2}"),
                    Catch::StartsWith(key("pipeline_schedule")) && Catch::Contains("one chunk of layers"));
  CHECK_THROWS_WITH(cut(4,
                        "{pipeline_schedule: zero_bubble, pipeline_model_parallel_size: 2, "
                        "data_parallel_sharding_strategy: optim_grads}"),
                    Catch::StartsWith(key("pipeline_schedule")) && Catch::Contains("no_shard or optim"));
  CHECK_THROWS_WITH(cut(16, "{context_parallel_size: 16, cp_comm_type: a2a}"),
                    key("cp_comm_type") +
                        "a2a needs the heads (32) and query groups (8) of a tensor rank to be multiples of "
                        "context_parallel_size (16); try: p2p or all_gather");
  CHECK_THROWS_WITH(cut(3, "tensor_model_parallel_size: 1", "data:\n  global_batch_size: 8\n  micro_batch_size: 2"),
                    "r.yaml:5: data.global_batch_size: 8 is not a multiple of micro_batch_size x data-parallel size (2 "
                    "x 3); try: use 6 or 12");
}

TEST_CASE("heads, groups, feed-forward and sequence must be cut evenly", "[recipes]") {
  const auto check = [](const std::string& model, const std::string& parallelism, int64_t world) {
    check_mesh(parse("model: {" + model + "}\nparallelism: {" + parallelism + "}\n"), world);
  };
  CHECK_THROWS_WITH(check("num_attention_heads: 12, num_query_groups: 6", "tensor_model_parallel_size: 4", 4),
                    "r.yaml:2: parallelism.tensor_model_parallel_size: 4 neither divides num_query_groups (6) nor is a "
                    "multiple of it; try: use 1, 2, 3, 6 or 12");
  CHECK_THROWS_WITH(check("ffn_hidden_size: 1002", "tensor_model_parallel_size: 4", 4),
                    "r.yaml:2: parallelism.tensor_model_parallel_size: 4 does not divide ffn_hidden_size (1002); try: "
                    "use 1, 2, 3 or 6");
  CHECK_THROWS_WITH(
      check("seq_length: 1020", "context_parallel_size: 4", 4),
      "r.yaml:1: model.seq_length: 1020 is not a multiple of 2 x context_parallel_size (8); try: use 1024");
  CHECK_THROWS_WITH(check("window_size: 100", "context_parallel_size: 2, cp_comm_type: p2p", 2),
                    "r.yaml:2: parallelism.cp_comm_type: p2p passes whole chunks on, whatever window_size (100) leaves "
                    "of them; try: all_gather or a2a");
  CHECK_NOTHROW(check("window_size: 100", "context_parallel_size: 2, cp_comm_type: all_gather", 2));
  CHECK_THROWS_WITH(check("seq_length: 1022", "tensor_model_parallel_size: 4, sequence_parallel: true", 4),
                    "r.yaml:1: model.seq_length: 1022 tokens of a rank are not a multiple of "
                    "tensor_model_parallel_size (4); try: use 1024, or sequence_parallel=false");
}
