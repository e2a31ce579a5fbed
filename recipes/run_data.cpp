#include "recipes/run_data.h"

#include <fstream>
#include <iterator>
#include <string>

#include "core/data/indexed_splits.h"
#include "core/data/mock_dataset.h"
#include "core/data/text_dataset.h"
#include "core/error.h"
#include "core/exec_context.h"
#include "recipes/consistency.h"

namespace nemo {
namespace {

std::string read_text(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw DataError{path, "data.text", "cannot be read", "data.text=FILE with a text file that exists"};
  std::string text{std::istreambuf_iterator<char>(in), {}};
  if (text.empty()) throw DataError{path, "data.text", "is empty"};
  return text;
}

int64_t samples_of(const Recipe& recipe) { return recipe.trainer.max_steps * recipe.data.global_batch_size; }

// Samples of all validations of the run: each draws limit_val_batches global batches.
int64_t validation_samples_of(const Recipe& recipe) {
  const TrainerConfig& trainer = recipe.trainer;
  return trainer.val_check_interval == 0 ? 0 : trainer.limit_val_batches * recipe.data.global_batch_size;
}

RunData open_text(const Recipe& recipe, const Tokenizer& tokenizer) {
  SplitDatasets splits = split_text(tokenizer.encode(read_text(recipe.data.text), false), parse_split(recipe.data.split),
                                    recipe.model.seq_length, static_cast<uint64_t>(recipe.run.seed));
  return {std::move(splits[0]), std::move(splits[1])};
}

RunData open_mock(const Recipe& recipe, const Plan& plan) {
  const auto make = [&](const char* split) {
    return std::make_shared<MockDataset>(recipe.data.mock_pattern, plan.vocab_size.value(), recipe.model.seq_length, static_cast<uint64_t>(recipe.run.seed), random_site(split));
  };
  return {make("data.mock.train"), make("data.mock.validation")};
}

RunData open_indexed(const Recipe& recipe, const Tokenizer* tokenizer) {
  const DataConfig& data = recipe.data;
  const int64_t validation = validation_samples_of(recipe);
  IndexedDataRequest request{.blend = parse_blend(data.blend), .split = data.split, .seq_length = recipe.model.seq_length,
                             .seed = static_cast<uint32_t>(recipe.run.seed), .num_samples = {samples_of(recipe), validation, 0},
                             .masking = {.end_of_document = tokenizer == nullptr ? std::nullopt : tokenizer->eos(), .mask_loss = data.eod_mask_loss,
                                         .reset_positions = data.reset_position_ids, .separate_documents = data.reset_attention_mask}};
  auto splits = build_indexed_splits(request);
  return {std::move(splits[0]), std::move(splits[1])};
}

}  // namespace

std::unique_ptr<Tokenizer> open_tokenizer(const Recipe& recipe) {
  const TokenizerConfig& config = recipe.tokenizer;
  if (config.type == TokenizerType::none) return nullptr;
  if (config.type != TokenizerType::character || !config.model.empty()) return load_tokenizer(config.type, config.model);
  if (recipe.data.text.empty())
    throw RecipeError{recipe.places.where("tokenizer.type"), "tokenizer.type", "char takes its characters from data.text, which is not set", "data.text=FILE"};
  return load_tokenizer(config.type, recipe.data.text);
}

Plan plan_run(const Recipe& recipe, const Tokenizer* tokenizer, int64_t world_size) {
  const Plan plan = make_plan(recipe, {.world_size = world_size, .tokenizer_vocab_size = tokenizer ? std::optional(tokenizer->vocab_size()) : std::nullopt});
  if (!plan.vocab_size)
    throw RecipeError{recipe.places.where("model.vocab_size"), "model.vocab_size", "is not given, and there is no tokenizer to take it from", "model.vocab_size=N or tokenizer.type=byte"};
  return plan;
}

RunData open_data(const Recipe& recipe, const Plan& plan, const Tokenizer* tokenizer) {
  require_data(recipe);
  if (recipe.data.mock) return open_mock(recipe, plan);
  return recipe.data.text.empty() ? open_indexed(recipe, tokenizer) : open_text(recipe, *tokenizer);  // the schema refuses text without a tokenizer
}

}  // namespace nemo
