#include "models/common/hf_keys.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "core/error.h"

namespace nemo {

using nlohmann::json;

struct HfKeys::Content {
  std::string place, path;  // path: "rope_parameters." inside that object
  json object;
  std::set<std::string, std::less<>> taken;

  // The value, if the key is there and not null. From now on the key counts as taken.
  const json* take(std::string_view key) {
    taken.emplace(key);
    const auto found = object.find(key);
    return found == object.end() || found->is_null() ? nullptr : &*found;
  }
};

HfKeys::HfKeys(std::unique_ptr<Content> content) : content_(std::move(content)) {}
HfKeys::HfKeys(HfKeys&&) noexcept = default;
HfKeys::~HfKeys() = default;

HfKeys::HfKeys(std::string place, const std::string& json_text) : content_(std::make_unique<Content>()) {
  content_->place = std::move(place);
  try {
    content_->object = json::parse(json_text);
  } catch (const json::exception& error) {
    throw CheckpointError{content_->place, "", std::string("is not valid JSON (") + error.what() + ")"};
  }
  if (!content_->object.is_object()) throw CheckpointError{content_->place, "", "is not a JSON object"};
}

void HfKeys::refuse(std::string_view key, const std::string& reason, const std::string& suggestion) const {
  throw CheckpointError{content_->place, content_->path + std::string(key), reason, suggestion};
}

bool HfKeys::has(std::string_view key) const {
  return content_->object.contains(key);
}

std::optional<int64_t> HfKeys::integer(std::string_view key) {
  const json* value = content_->take(key);
  if (!value) return std::nullopt;
  constexpr int64_t kLargest = int64_t{1} << 53;  // beyond it JSON writers disagree
  if (!value->is_number_integer() || std::abs(value->get<double>()) > static_cast<double>(kLargest)) {
    refuse(key, "is " + value->dump() + ", not a whole number");
  }
  return value->get<int64_t>();
}

std::optional<double> HfKeys::number(std::string_view key) {
  const json* value = content_->take(key);
  if (!value) return std::nullopt;
  if (!value->is_number()) refuse(key, "is " + value->dump() + ", not a number");
  return value->get<double>();
}

std::optional<bool> HfKeys::flag(std::string_view key) {
  const json* value = content_->take(key);
  if (!value) return std::nullopt;
  if (!value->is_boolean()) refuse(key, "is " + value->dump() + ", not true or false");
  return value->get<bool>();
}

std::optional<std::string> HfKeys::text(std::string_view key) {
  const json* value = content_->take(key);
  if (!value) return std::nullopt;
  if (!value->is_string()) refuse(key, "is " + value->dump() + ", not text");
  return value->get<std::string>();
}

std::optional<std::vector<std::string>> HfKeys::texts(std::string_view key) {
  const json* value = content_->take(key);
  if (!value) return std::nullopt;
  std::vector<std::string> items;
  for (const json& item : *value) {
    if (!value->is_array() || !item.is_string()) refuse(key, "is not a list of texts");
    items.push_back(item.get<std::string>());
  }
  return items;
}

std::vector<int64_t> HfKeys::integers(std::string_view key) {
  const json* value = content_->take(key);
  std::vector<int64_t> items;
  if (!value) return items;
  for (const json& item : value->is_array() ? *value : json::array({*value})) {
    if (!item.is_number_integer()) refuse(key, "is " + value->dump() + ", not a whole number or a list of them");
    items.push_back(item.get<int64_t>());
  }
  return items;
}

std::optional<HfKeys> HfKeys::object(std::string_view key) {
  const json* value = content_->take(key);
  if (!value) return std::nullopt;
  if (!value->is_object()) refuse(key, "is " + value->dump() + ", not an object");
  auto inner = std::make_unique<Content>();
  inner->place = content_->place;
  inner->path = content_->path + std::string(key) + ".";
  inner->object = *value;
  return HfKeys(std::move(inner));
}

int64_t HfKeys::required_size(std::string_view key) {
  const std::optional<int64_t> value = integer(key);
  if (!value) refuse(key, "is missing");
  if (*value <= 0) refuse(key, "is " + std::to_string(*value) + " but must be above zero");
  return *value;
}

double HfKeys::required_positive(std::string_view key) {
  const std::optional<double> value = number(key);
  if (!value) refuse(key, "is missing");
  if (!(*value > 0)) refuse(key, "must be above zero");
  return *value;
}

double HfKeys::probability(std::string_view key, double otherwise) {
  const double value = number(key).value_or(otherwise);
  if (!(value >= 0 && value < 1)) refuse(key, "must be at least 0 and below 1");
  return value;
}

void HfKeys::require_flag(std::string_view key, bool wanted, bool otherwise) {
  if (flag(key).value_or(otherwise) != wanted) {
    refuse(key, std::string(wanted ? "false" : "true") + " is not supported",
           std::string("a model with ") + (wanted ? "true" : "false"));
  }
}

void HfKeys::ignore(std::initializer_list<std::string_view> keys) {
  for (const std::string_view key : keys) content_->taken.emplace(key);
}

void HfKeys::ignore_common() {
  ignore({"_name_or_path",
          "_attn_implementation",
          "_attn_implementation_autoset",
          "architectures",
          "attn_implementation",
          "bad_words_ids",
          "begin_suppress_tokens",
          "bos_token_id",
          "chunk_size_feed_forward",
          "decoder_start_token_id",
          "diversity_penalty",
          "do_sample",
          "dtype",
          "early_stopping",
          "encoder_no_repeat_ngram_size",
          "eos_token_id",
          "exponential_decay_length_penalty",
          "finetuning_task",
          "forced_bos_token_id",
          "forced_eos_token_id",
          "gradient_checkpointing",
          "id2label",
          "is_decoder",
          "label2id",
          "length_penalty",
          "max_length",
          "min_length",
          "model_type",
          "no_repeat_ngram_size",
          "num_beam_groups",
          "num_beams",
          "num_return_sequences",
          "output_attentions",
          "output_hidden_states",
          "output_scores",
          "pad_token_id",
          "prefix",
          "problem_type",
          "remove_invalid_values",
          "repetition_penalty",
          "return_dict",
          "return_dict_in_generate",
          "sep_token_id",
          "suppress_tokens",
          "task_specific_params",
          "temperature",
          "tf_legacy_loss",
          "tie_encoder_decoder",
          "tokenizer_class",
          "top_k",
          "top_p",
          "torch_dtype",
          "torchscript",
          "transformers_version",
          "typical_p",
          "unk_token_id",
          "use_bfloat16",
          "use_cache"});
  require_flag("is_encoder_decoder", false, false);
  require_flag("add_cross_attention", false, false);
  if (const json* heads = content_->take("pruned_heads"); heads && !heads->empty())
    refuse("pruned_heads", "is not supported");
}

void HfKeys::finish() const {
  for (const auto& [key, value] : content_->object.items()) {
    if (!content_->taken.contains(key) && !value.is_null()) {
      refuse(key, "is not known to nemo and may change the computation", "remove it from the file if it does not");
    }
  }
}

}  // namespace nemo
