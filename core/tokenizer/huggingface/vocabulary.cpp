#include "core/tokenizer/huggingface/vocabulary.h"

namespace nemo::huggingface {

bool Vocabulary::add(std::string token, int32_t id) {
  if (token_of(id)) return false;
  const auto [entry, added] = ids_.emplace(std::move(token), id);
  if (!added) return false;
  if (static_cast<size_t>(id) >= tokens_.size()) tokens_.resize(id + 1);
  tokens_[id] = &entry->first;
  return true;
}

std::optional<int32_t> Vocabulary::id_of(std::string_view token) const {
  const auto found = ids_.find(token);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

const std::string* Vocabulary::token_of(int32_t id) const {
  return id >= 0 && static_cast<size_t>(id) < tokens_.size() ? tokens_[id] : nullptr;
}

}  // namespace nemo::huggingface
