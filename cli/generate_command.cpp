#include "cli/generate_command.h"

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/tokenizer/stream_decoder.h"
#include "recipes/generate.h"
#include "recipes/load_model.h"

namespace nemo {
namespace {

struct Arguments {
  std::string model, device = "auto", precision = "auto";
  std::optional<std::string> prompt;
  std::vector<int32_t> prompt_ids;
  GenerateOptions generation;
  bool json = false;
};

// auto: what the device is fast in.
Precision precision_of(const std::string& word, Device device) {
  if (word == "auto") return device.is_cuda() ? Precision::bf16 : Precision::fp32;
  return word == "bf16" ? Precision::bf16 : Precision::fp32;
}

std::vector<int32_t> prompt_of(const Arguments& arguments, const Tokenizer* tokenizer) {
  if (!arguments.prompt) return arguments.prompt_ids;
  if (tokenizer == nullptr)
    throw UsageError{arguments.model, "--prompt", "there is no tokenizer beside the model to read text with",
                     "--prompt-ids 1,2,3"};
  return tokenizer->encode(*arguments.prompt, true);
}

// A tokenizer's bytes need not be whole characters, JSON's must be: anything else becomes U+FFFD.
std::string dump(const nlohmann::ordered_json& json) {
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

void print_json(const LoadedModel& loaded, const std::vector<int32_t>& prompt, const GenerateOptions& options) {
  const std::vector<int32_t> ids = generate(*loaded.ctx, *loaded.model, {prompt}, options).front();
  nlohmann::ordered_json text;
  if (loaded.tokenizer) text = loaded.tokenizer->decode(ids, true);
  std::cout << dump({{"ids", ids},
                     {"text", text},
                     {"prompt_tokens", prompt.size()},
                     {"finish_reason", name(finish_reason(ids, prompt.size(), options))}})
            << '\n';
}

// The prompt, then the answer as it grows.
void stream_text(const LoadedModel& loaded, const std::vector<int32_t>& prompt, const GenerateOptions& options) {
  StreamDecoder decoder(*loaded.tokenizer, true);
  for (const int32_t id : prompt) std::cout << decoder.push(id);
  std::cout << std::flush;
  const OnToken show = [&](int64_t, int32_t id) { std::cout << decoder.push(id) << std::flush; };
  const std::vector<int32_t> ids = generate(*loaded.ctx, *loaded.model, {prompt}, options, show).front();
  std::cout << decoder.finish() << '\n';
  if (finish_reason(ids, prompt.size(), options) == FinishReason::max_position_embeddings)
    std::cerr << "note: the model takes no more than " << ids.size() << " tokens (max_position_embeddings)\n";
}

// Without a tokenizer: the ids, separated as --prompt-ids takes them.
void stream_ids(const LoadedModel& loaded, const std::vector<int32_t>& prompt, const GenerateOptions& options) {
  for (size_t i = 0; i < prompt.size(); ++i) std::cout << (i > 0 ? "," : "") << prompt[i];
  generate(*loaded.ctx, *loaded.model, {prompt}, options,
           [](int64_t, int32_t id) { std::cout << ',' << id << std::flush; });
  std::cout << '\n';
}

void run(const Arguments& arguments) {
  if (arguments.prompt.has_value() == !arguments.prompt_ids.empty())
    throw UsageError{"nemo generate", "prompt", arguments.prompt ? "is given both as text and as ids" : "is missing",
                     "--prompt TEXT, or --prompt-ids 1,2,3"};
  check(arguments.generation.sampling);
  const Device device = parse_device(arguments.device);
  const LoadedModel loaded = load_model(arguments.model, device, precision_of(arguments.precision, device));
  GenerateOptions options = arguments.generation;
  options.eos_ids = loaded.eos_ids;
  const std::vector<int32_t> prompt = prompt_of(arguments, loaded.tokenizer.get());
  check(loaded.model->config(), {prompt}, options);
  if (arguments.json)
    print_json(loaded, prompt, options);
  else if (loaded.tokenizer)
    stream_text(loaded, prompt, options);
  else
    stream_ids(loaded, prompt, options);
}

}  // namespace

void add_generate_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("generate", "Continue a prompt with a trained model");
  auto arguments = std::make_shared<Arguments>();
  GenerateOptions& generation = arguments->generation;
  command->add_option("model", arguments->model, "a checkpoint, the folder of a run, or a Hugging Face folder")
      ->required();
  command->add_option("--prompt", arguments->prompt, "the text to continue");
  command->add_option("--prompt-ids", arguments->prompt_ids, "the same as token ids: 1,2,3")
      ->delimiter(',')
      ->allow_extra_args(false);
  command->add_option("--max-new-tokens", generation.max_new_tokens, "tokens to add at most")->capture_default_str();
  command
      ->add_option("--temperature", generation.sampling.temperature,
                   "0 takes the likeliest token, 1 draws as the model says, more is wilder")
      ->capture_default_str();
  command->add_option("--top-k", generation.sampling.top_k, "draw from so many of the likeliest tokens; 0: all")
      ->capture_default_str();
  command
      ->add_option("--top-p", generation.sampling.top_p,
                   "draw from the likeliest tokens that together reach this probability")
      ->capture_default_str();
  command->add_option("--seed", generation.sampling.seed, "of the draws: the same seed gives the same text")
      ->capture_default_str();
  command->add_option("--num-beams", generation.num_beams, "above 1: beam search with so many beams, at temperature 0")
      ->capture_default_str();
  command->add_flag("--json", arguments->json,
                    "one JSON object with ids and text (null without a tokenizer), the prompt included");
  command->add_option("--device", arguments->device, "cpu, cuda, cuda:N or auto")->capture_default_str();
  command->add_option("--precision", arguments->precision, "fp32, bf16 or auto (bf16 on a GPU, fp32 on a CPU)")
      ->check(CLI::IsMember({"auto", "fp32", "bf16"}))
      ->capture_default_str();
  command->footer(
      "Examples:\n  nemo generate runs/gpt_tiny_docs --prompt 'A tensor is'\n"
      "  nemo generate path/to/hf-folder --prompt 'Once upon a time' --temperature 0.8 --top-p 0.95 --seed 7\n"
      "  nemo generate path/to/hf-folder --prompt-ids 1,15043 --num-beams 4 --max-new-tokens 32 --json");
  command->callback([arguments] { run(*arguments); });
}

}  // namespace nemo
