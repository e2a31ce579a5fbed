#include "recipes/consistency.h"

#include "core/data/indexed_splits.h"
#include "core/data/split.h"
#include "core/error.h"
#include "recipes/fp8_layers.h"
#include "recipes/schema.h"

namespace nemo {
namespace {

[[noreturn]] void fail(const Recipe& recipe, const std::string& key, const std::string& reason,
                       const std::string& suggestion) {
  throw RecipeError{recipe.places.where(key), key, reason, suggestion};
}

// What the data room refuses, said with the recipe's place before any data is opened.
template <class Parse>
void check_parses(const Recipe& recipe, const std::string& key, Parse&& parse) {
  try {
    parse();
  } catch (const DataError& error) {
    throw RecipeError{recipe.places.where(key), "", error.what()};
  }
}

void check_data(const Recipe& recipe) {
  const DataConfig& data = recipe.data;
  check_parses(recipe, "data.split", [&] { parse_split(data.split); });
  check_parses(recipe, "data.blend", [&] { parse_blend(data.blend); });
  if (data.mock && !data.text.empty())
    fail(recipe, "data.mock", "contradicts data.text (" + recipe.places.where("data.text") + ")", "give one of them");
  if (data.mock && !data.blend.empty())
    fail(recipe, "data.mock", "contradicts data.blend (" + recipe.places.where("data.blend") + ")", "give one of them");
  if (!data.text.empty() && !data.blend.empty())
    fail(recipe, "data.text", "contradicts data.blend (" + recipe.places.where("data.blend") + ")", "give one of them");
  if (!data.text.empty() && recipe.tokenizer.type == TokenizerType::none)
    fail(recipe, "tokenizer.type", "data.text is text, and none makes no tokens of it",
         "tokenizer.type=byte, or huggingface with tokenizer.model");
}

void check_tokenizer(const Recipe& recipe) {
  const TokenizerType type = recipe.tokenizer.type;
  const bool has_file = type == TokenizerType::huggingface || type == TokenizerType::sentencepiece;
  if (has_file && recipe.tokenizer.model.empty())
    fail(recipe, "tokenizer.model", "this type of tokenizer is a file, and none is given",
         type == TokenizerType::huggingface ? "tokenizer.model=FOLDER with a tokenizer.json"
                                            : "tokenizer.model=FILE.model");
}

void check_precision(const Recipe& recipe) {
  if (recipe.trainer.precision == Precision::bf16_mixed && recipe.optim.master_dtype == DType::bf16)
    fail(recipe, "optim.master_dtype", "bf16-mixed is bf16 arithmetic beside fp32 master weights",
         "trainer.precision=bf16, which keeps none");
}

}  // namespace

void check_sections(const Recipe& recipe) {
  check_data(recipe);
  check_tokenizer(recipe);
  check_precision(recipe);
  check_fp8(recipe);
  if (recipe.optim.sched.min_lr > recipe.optim.lr)
    fail(recipe, "optim.sched.min_lr", "is above optim.lr (" + recipe.places.where("optim.lr") + ")",
         "a tenth of optim.lr");
}

void note_settings_without_effect(Recipe& recipe) {
  const auto note = [&](bool idle, const std::string& key, const std::string& reason) {
    if (idle && recipe.places.is_written(key))
      recipe.notices.push_back(recipe.places.where(key) + ": " + key + " has no effect: " + reason);
  };
  const DecoderConfig& model = recipe.model;
  const bool learned = model.position_embedding_type == PositionEmbedding::learned;
  note(learned, "model.rotary_base", "positions are learned");
  note(model.add_qkv_bias && model.add_bias_linear, "model.add_qkv_bias", "add_bias_linear adds that bias already");
  note(model.window_size >= model.seq_length, "model.window_size", "no sequence is longer");
  note(!recipe.data.mock, "data.mock_pattern", "data.mock is false");
  note(true, "data.path_to_cache", "the sample order is worked out in memory at each start");
  note(recipe.data.num_workers != 1, "data.num_workers", "one thread prepares batches ahead");
  for (const char* key : {"data.eod_mask_loss", "data.reset_position_ids", "data.reset_attention_mask"})
    note(recipe.data.mock || !recipe.data.text.empty(), key, "only indexed sets hold documents");
  note(recipe.trainer.val_check_interval == 0, "trainer.limit_val_batches",
       "there is no validation; set trainer.val_check_interval");
  const bool fp8 = recipe.trainer.precision == Precision::fp8_mixed;
  note(!fp8, "trainer.first_last_layers_bf16", "trainer.precision is not fp8-mixed");
  for (const char* key : {"trainer.num_layers_at_start_in_bf16", "trainer.num_layers_at_end_in_bf16"})
    note(!fp8 || !recipe.trainer.first_last_layers_bf16, key, fp8 ? "trainer.first_last_layers_bf16 is not set" : "trainer.precision is not fp8-mixed");
  note(recipe.trainer.precision == Precision::fp32, "optim.master_dtype",
       "in fp32 the weights are their own master copy");
  note(recipe.trainer.precision == Precision::bf16, "optim.master_dtype", "in bf16 there is no master copy");
  note(recipe.trainer.precision == Precision::fp32, "optim.grad_reduce_in_fp32", "in fp32 gradients are fp32");
  note(recipe.checkpoint.save == "none", "checkpoint.save_interval", "checkpoint.save is none");
  note(recipe.checkpoint.save == "none", "checkpoint.keep_last", "checkpoint.save is none");
  note(recipe.parallelism.tensor_model_parallel_size == 1, "parallelism.sequence_parallel",
       "tensor_model_parallel_size is 1");
  note(recipe.parallelism.context_parallel_size == 1, "parallelism.cp_comm_type", "context_parallel_size is 1");
  const ScheduleConfig& sched = recipe.optim.sched;
  const bool flat = sched.name == ScheduleName::constant;
  note(flat, "optim.sched.min_lr", "a Constant schedule does not decay");
  note(flat, "optim.sched.decay_steps", "a Constant schedule does not decay");
  if (sched.warmup_steps >= recipe.trainer.max_steps)
    recipe.notices.push_back(recipe.places.where("optim.sched.warmup_steps") +
                             ": optim.sched.warmup_steps: the whole run (" + std::to_string(recipe.trainer.max_steps) +
                             " steps) is warm-up, which takes " + std::to_string(sched.warmup_steps));
}

void require_data(const Recipe& recipe) {
  if (recipe.data.has_source()) return;
  const bool text_only = recipe.tokenizer.type == TokenizerType::character;
  throw RecipeError{recipe.places.file(), "data", "nothing to train on",
                    text_only ? "pass data.text=FILE"
                              : "data.blend=[PREFIX] (made by nemo data tokenize), data.text=FILE or data.mock=true"};
}

}  // namespace nemo
