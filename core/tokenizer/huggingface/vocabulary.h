// Tokens and their ids, both ways. What tokens mean is the models' and decoders' matter.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace nemo::huggingface {

inline constexpr int32_t kMaxTokenId = (1 << 24) - 1;  // an id over this is taken for a corrupt file

// Lets maps of strings be asked by string_view.
struct TextHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
};

class Vocabulary {
 public:
  void reserve(size_t num_tokens) { ids_.reserve(num_tokens), tokens_.reserve(num_tokens); }
  bool add(std::string token, int32_t id);  // false when the id or the token is there already. Ids in [0, kMaxTokenId].

  std::optional<int32_t> id_of(std::string_view token) const;
  const std::string* token_of(int32_t id) const;                         // null: no token has this id
  int64_t size() const { return static_cast<int64_t>(tokens_.size()); }  // the largest id + 1

 private:
  std::unordered_map<std::string, int32_t, TextHash, std::equal_to<>> ids_;
  std::vector<const std::string*> tokens_;  // by id; into ids_, whose keys never move
};

}  // namespace nemo::huggingface
