#include "core/tokenizer/huggingface/token_model.h"

#include <nlohmann/json.hpp>

#include "core/tokenizer/huggingface/bpe_model.h"

namespace nemo::huggingface {

std::unique_ptr<TokenModel> make_token_model(const JsonField& field) {
  const std::string type = field.text("type", "BPE");
  if (type == "BPE") return make_bpe_model(field);
  throw field.unsupported();
}

Vocabulary read_vocabulary(const JsonField& field) {
  if (!field.value().is_object() || field.value().empty()) throw field.error("an object of tokens and their ids is expected here");
  Vocabulary vocabulary;
  vocabulary.reserve(field.value().size());
  for (const auto& [token, id] : field.value().items()) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() > static_cast<uint64_t>(kMaxTokenId)) {
      throw field.error("the id of \"" + token + "\" is not a whole number from 0 to " + std::to_string(kMaxTokenId));
    }
    if (!vocabulary.add(token, id.get<int32_t>())) throw field.error("two tokens have the id " + id.dump());
  }
  return vocabulary;
}

}  // namespace nemo::huggingface
