#include "cli/explain_command.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iomanip>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "cli/recipe_arguments.h"
#include "core/config/print.h"
#include "core/error.h"
#include "parallel/mesh.h"
#include "recipes/availability.h"
#include "recipes/fp8_layers.h"
#include "recipes/plan.h"
#include "recipes/run_data.h"

namespace nemo {
namespace {

using Json = nlohmann::ordered_json;

struct Explanation {
  Recipe recipe;
  Plan plan;
  std::optional<ArenaStats> memory;
};

// 124439808 -> "124,439,808"
std::string group_digits(int64_t number) {
  std::string text = std::to_string(number);
  for (int64_t at = static_cast<int64_t>(text.size()) - 3; at > 0; at -= 3) text.insert(at, ",");
  return text;
}

std::string fixed(double number, int decimals) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(decimals) << number;
  return out.str();
}

// 5.1e10 -> "51.00 G"
std::string scaled(double number) {
  constexpr const char* kUnits[] = {"", " k", " M", " G", " T", " P", " E", " Z"};
  size_t unit = 0;
  for (; number >= 1000 && unit + 1 < std::size(kUnits); ++unit) number /= 1000;
  return fixed(number, 2) + kUnits[unit];
}

void print_values(Recipe& recipe) {
  for (const Field& section : list_fields(recipe)) {
    std::cout << section.key << '\n';
    const std::vector<LeafField> leaves = list_leaves(section.fields);
    size_t key_width = 0, value_width = 0;
    for (const LeafField& leaf : leaves) {
      key_width = std::max(key_width, leaf.path.size());
      value_width = std::max(value_width, std::min<size_t>(value_text(*leaf.field).size(), 30));
    }
    for (const LeafField& leaf : leaves) {
      const std::string path = std::string(section.key) + "." + leaf.path;
      std::cout << "  " << std::left << std::setw(static_cast<int>(key_width) + 2) << leaf.path
                << std::setw(static_cast<int>(value_width) + 2) << value_text(*leaf.field) << ' '
                << recipe.places.origin(path).describe() << '\n';
    }
  }
}

// What the backward computes a second time; nothing where recompute is off.
std::string describe_recompute(const DecoderConfig& model) {
  const std::string layers = std::to_string(model.recompute_num_layers);
  switch (model.recompute_granularity) {
    case RecomputeGranularity::none:
      return {};
    case RecomputeGranularity::full:
      return model.recompute_method == RecomputeMethod::block
                 ? "the first " + layers + " of " + std::to_string(model.num_layers) + " layers"
                 : "all layers, in groups of " + layers;
    case RecomputeGranularity::selective:
      break;
  }
  std::string modules;
  for (const std::string& module : model.recompute_modules) modules += (modules.empty() ? "" : ", ") + module;
  return modules + " of every layer";
}

// What the plan says, as label and figure.
std::vector<std::pair<std::string, std::string>> plan_lines(const Plan& plan, const Recipe& recipe) {
  const std::string unknown = "known once the tokenizer is read (model.vocab_size is null)";
  std::vector<std::pair<std::string, std::string>> lines = {
      {"ranks", group_digits(plan.world_size)},
      {"data-parallel size", group_digits(plan.data_parallel_size)},
      {"micro batches in a step", group_digits(plan.gradient_accumulation_steps)},
      {"samples per step", group_digits(plan.samples_per_step)},
      {"tokens per step", group_digits(plan.tokens_per_step)},
      {"tokens of the run", group_digits(static_cast<int64_t>(std::min(plan.total_tokens, 9e18)))},
      {"vocabulary", plan.vocab_size
                         ? group_digits(*plan.vocab_size) + ", padded to " + group_digits(*plan.padded_vocab_size)
                         : unknown},
      {"parameters", plan.num_parameters ? group_digits(*plan.num_parameters) : unknown}};
  if (plan.flops_per_token) {
    const FlopsPerToken& flops = *plan.flops_per_token;
    const double step = flops.causal * static_cast<double>(plan.tokens_per_step);
    lines.push_back(
        {"FLOP per token", scaled(flops.causal) + " causal, " + scaled(flops.full) + " counting masked attention too"});
    lines.push_back({"FLOP per step", scaled(step) + " causal"});
  }
  if (const std::string recomputed = describe_recompute(recipe.model); !recomputed.empty())
    lines.push_back({"recomputed", recomputed + "; not counted in FLOP"});
  if (const Fp8Layers fp8 = fp8_layers(recipe); fp8.any())
    lines.push_back({"fp8 products", "linears of layers " + std::to_string(fp8.begin) + " to " + std::to_string(fp8.end - 1)});
  return lines;
}

void print_memory(const ArenaStats& memory) {
  std::cout << "memory of a rank at its peak\n";
  const auto mib = [](size_t bytes) { return fixed(static_cast<double>(bytes) / (1 << 20), 1) + " MiB"; };
  for (size_t tag = 0; tag < kNumMemoryTags; ++tag)
    if (memory.at_peak_by_tag[tag] > 0)
      std::cout << "  " << std::left << std::setw(24) << name(static_cast<MemoryTag>(tag))
                << mib(memory.at_peak_by_tag[tag]) << '\n';
  std::cout << "  " << std::left << std::setw(24) << "together" << mib(memory.peak_bytes) << '\n';
}

void print_text(Explanation& all) {
  std::cout << all.recipe.places.file() << "\n\n";
  print_values(all.recipe);
  std::cout << "\nfollows from these\n";
  for (const auto& [label, figure] : plan_lines(all.plan, all.recipe))
    std::cout << "  " << std::left << std::setw(24) << label << figure << '\n';
  if (all.plan.world_size > 1) std::cout << "\nmesh: " << draw_mesh(MeshSizes(all.recipe.parallelism, all.plan.world_size));
  if (all.memory) print_memory(*all.memory);
  for (const UnavailableSetting& setting : list_unavailable_settings(all.recipe))
    std::cout << "not available yet in this version: " << setting.key << " = " << setting.value << " (" << setting.place
              << "); available: " << setting.available << '\n';
  std::cout << std::flush;
  print_notices(all.recipe);
}

template <class T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json();
}

Json as_json(Explanation& all) {
  Json values = Json::array(), unavailable = Json::array();
  const std::vector<Field> fields = list_fields(all.recipe);
  for (const LeafField& leaf : list_leaves(fields))
    values.push_back({{"key", leaf.path},
                      {"value", value_text(*leaf.field)},
                      {"origin", all.recipe.places.origin(leaf.path).describe()}});
  for (const UnavailableSetting& setting : list_unavailable_settings(all.recipe))
    unavailable.push_back(
        {{"key", setting.key}, {"value", setting.value}, {"place", setting.place}, {"available", setting.available}});
  const Plan& plan = all.plan;
  Json json = {{"recipe", all.recipe.places.file()},
               {"values", values},
               {"plan",
                {{"world_size", plan.world_size},
                 {"data_parallel_size", plan.data_parallel_size},
                 {"gradient_accumulation_steps", plan.gradient_accumulation_steps},
                 {"samples_per_step", plan.samples_per_step},
                 {"tokens_per_step", plan.tokens_per_step},
                 {"vocab_size", or_null(plan.vocab_size)},
                 {"padded_vocab_size", or_null(plan.padded_vocab_size)},
                 {"parameters", or_null(plan.num_parameters)}}},
               {"notices", all.recipe.notices},
               {"unavailable", unavailable}};
  if (plan.flops_per_token) {
    json["plan"]["flops_per_token_causal"] = plan.flops_per_token->causal;
    json["plan"]["flops_per_token_full"] = plan.flops_per_token->full;
  }
  if (all.memory) {
    json["memory"]["peak_bytes"] = all.memory->peak_bytes;
    for (size_t tag = 0; tag < kNumMemoryTags; ++tag)
      json["memory"]["at_peak_by_tag"][std::string(name(static_cast<MemoryTag>(tag)))] =
          all.memory->at_peak_by_tag[tag];
  }
  return json;
}

// Tokens of the recipe's tokenizer; none where it has none yet, as a char recipe before its text is given. A tokenizer
// that lies on another machine does not keep the rest from being explained.
std::optional<int64_t> read_tokenizer_size(const Recipe& recipe) {
  const bool lacks_text =
      recipe.tokenizer.type == TokenizerType::character && recipe.tokenizer.model.empty() && recipe.data.text.empty();
  if (lacks_text) return std::nullopt;
  try {
    const auto tokenizer = open_tokenizer(recipe);
    return tokenizer ? std::optional(tokenizer->vocab_size()) : std::nullopt;
  } catch (const DataError& error) {
    std::cerr << "note: the tokenizer is left out: " << error.what() << '\n';
    return std::nullopt;
  }
}

}  // namespace

void add_explain_command(CLI::App& app, MemoryEstimator estimate_memory) {
  struct Options {
    RecipeArguments arguments;
    int64_t world_size = 0;
    bool json = false;
  };
  CLI::App* command =
      app.add_subcommand("explain", "Print each setting of a recipe with its origin, and what follows from it");
  auto options = std::make_shared<Options>();
  add_recipe_arguments(*command, options->arguments);
  command->add_option("--world-size", options->world_size, "ranks to plan for; without it, as many as the recipe needs")
      ->check(CLI::PositiveNumber);
  command->add_flag("--json", options->json, "one JSON object instead of text");
  command->footer(
      "Examples:\n  nemo explain gpt2_124m\n  nemo explain mine.yaml optim.lr=1e-4 data.micro_batch_size=4\n"
      "  nemo explain llama3_8b parallelism.tensor_model_parallel_size=4 --world-size 64");
  command->callback([options, estimate_memory] {
    Explanation all{.recipe = options->arguments.load(), .plan = {}, .memory = std::nullopt};
    const int64_t world_size = options->world_size > 0 ? options->world_size : natural_world_size(all.recipe);
    all.plan =
        make_plan(all.recipe, {.world_size = world_size, .tokenizer_vocab_size = read_tokenizer_size(all.recipe)});
    const bool can_walk = all.plan.vocab_size && list_unavailable_settings(all.recipe).empty();
    if (estimate_memory && can_walk) all.memory = estimate_memory(all.recipe, all.plan);
    if (options->json)
      std::cout << as_json(all).dump(2) << '\n';
    else
      print_text(all);
  });
}

}  // namespace nemo
