#include "core/tokenizer/huggingface/bpe_model.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <queue>
#include <span>

#include "core/tokenizer/utf8.h"

namespace nemo::huggingface {
namespace {

constexpr size_t kLongWord = 48;  // symbols, over which the queue beats looking at every pair for each merge

// Joins the pair of the lowest rank, the leftmost of equals, until none is left. Returns how many symbols remain.
size_t merge_short(const BpeMerges& merges, std::span<int32_t> symbols) {
  std::array<Merge, kLongWord> pairs;  // pairs[i]: of symbols i and i + 1; rank INT32_MAX where they are not joined
  const auto pair_at = [&](size_t i) {
    const Merge* merge = merges.find(symbols[i], symbols[i + 1]);
    return merge ? *merge : Merge{INT32_MAX, 0};
  };
  size_t count = symbols.size();
  for (size_t i = 0; i + 1 < count; ++i) pairs[i] = pair_at(i);
  while (count > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < count; ++i) {
      if (pairs[i].rank < pairs[best].rank) best = i;
    }
    if (pairs[best].rank == INT32_MAX) break;
    symbols[best] = pairs[best].joined;
    for (size_t i = best + 1; i + 1 < count; ++i) symbols[i] = symbols[i + 1];
    for (size_t i = best + 1; i + 2 < count; ++i) pairs[i] = pairs[i + 1];
    --count;
    if (best > 0) pairs[best - 1] = pair_at(best - 1);
    if (best + 1 < count) pairs[best] = pair_at(best);
  }
  return count;
}

// The same by a queue over a linked list: n log n for words of any length.
size_t merge_long(const BpeMerges& merges, std::span<int32_t> symbols) {
  struct Candidate {
    int32_t rank, joined;
    size_t left;
    bool operator<(const Candidate& other) const {  // the queue gives its largest first
      return rank != other.rank ? rank > other.rank : left > other.left;
    }
  };
  constexpr int32_t kGone = -1;
  const size_t count = symbols.size();
  std::vector<size_t> next(count), previous(count);
  std::priority_queue<Candidate> queue;
  const auto consider = [&](size_t left) {
    if (next[left] == count) return;
    if (const Merge* merge = merges.find(symbols[left], symbols[next[left]])) queue.push({merge->rank, merge->joined, left});
  };
  for (size_t i = 0; i < count; ++i) next[i] = i + 1, previous[i] = i == 0 ? count : i - 1;
  for (size_t i = 0; i < count; ++i) consider(i);
  while (!queue.empty()) {
    const Candidate top = queue.top();
    queue.pop();
    if (symbols[top.left] == kGone || next[top.left] == count) continue;
    const size_t right = next[top.left];
    const Merge* now = merges.find(symbols[top.left], symbols[right]);
    if (!now || now->joined != top.joined) continue;  // its neighbours have changed since
    symbols[top.left] = top.joined;
    symbols[right] = kGone;
    next[top.left] = next[right];
    if (next[right] != count) previous[next[right]] = top.left;
    if (previous[top.left] != count) consider(previous[top.left]);
    consider(top.left);
  }
  return static_cast<size_t>(std::remove(symbols.begin(), symbols.end(), kGone) - symbols.begin());
}

}  // namespace

BpeModel::BpeModel(Vocabulary vocabulary, BpeMerges merges, BpeOptions options)
    : TokenModel(std::move(vocabulary)), merges_(std::move(merges)), options_(std::move(options)),
      plain_(options_.continuing_prefix.empty() && options_.end_suffix.empty()) {
  for (uint32_t c = 0; c < small_code_points_.size(); ++c) {
    std::string character;
    append_utf8(character, c);
    small_code_points_[c] = vocabulary_.id_of(character).value_or(-1);
  }
  for (int byte = 0; byte < 256; ++byte) {
    char token[8];
    std::snprintf(token, sizeof(token), "<0x%02X>", byte);
    byte_tokens_[byte] = vocabulary_.id_of(token);
  }
}

void BpeModel::append_ids(std::string_view word, std::vector<int32_t>& ids) const {
  if (options_.ignore_merges) {
    if (const std::optional<int32_t> id = vocabulary_.id_of(word)) return ids.push_back(*id);
  }
  const size_t begin = ids.size();
  append_symbols(word, ids);
  const std::span symbols = std::span(ids).subspan(begin);
  ids.resize(begin + (symbols.size() <= kLongWord ? merge_short(merges_, symbols) : merge_long(merges_, symbols)));
}

void BpeModel::append_symbols(std::string_view word, std::vector<int32_t>& symbols) const {
  bool after_unknown = false;
  for (size_t at = 0; at < word.size();) {
    const CodePoint c = decode_utf8(word, at);
    const std::string_view character = word.substr(at, c.num_bytes);
    const bool first = at == 0;
    at += c.num_bytes;
    if (const std::optional<int32_t> id = symbol_of(character, c.value, first, at == word.size())) {
      symbols.push_back(*id);
      after_unknown = false;
      continue;
    }
    if (options_.byte_fallback) {
      const size_t begin = symbols.size();
      for (const char byte : character) {
        if (const auto& id = byte_tokens_[static_cast<uint8_t>(byte)]) symbols.push_back(*id);
      }
      after_unknown = false;
      if (symbols.size() - begin == character.size()) continue;
      symbols.resize(begin);
    }
    if (options_.unknown && !(after_unknown && options_.fuse_unknown)) symbols.push_back(*options_.unknown);
    after_unknown = true;
  }
}

std::optional<int32_t> BpeModel::symbol_of(std::string_view character, uint32_t code_point, bool first, bool last) const {
  if (plain_ && code_point < small_code_points_.size()) {
    const int32_t id = small_code_points_[code_point];
    return id < 0 ? std::nullopt : std::optional(id);
  }
  if (plain_) return vocabulary_.id_of(character);
  std::string token(first ? "" : options_.continuing_prefix);
  token += character;
  if (last) token += options_.end_suffix;
  return vocabulary_.id_of(token);
}

std::unique_ptr<TokenModel> make_bpe_model(const JsonField& field) {
  if (field.find("dropout") && field["dropout"].value() != 0) throw field["dropout"].error("merges dropped at random are not supported");
  Vocabulary vocabulary = read_vocabulary(field["vocab"]);
  BpeOptions options;
  options.fuse_unknown = field.flag("fuse_unk", false);
  options.byte_fallback = field.flag("byte_fallback", false);
  options.ignore_merges = field.flag("ignore_merges", false);
  options.continuing_prefix = field.text("continuing_subword_prefix", "");
  options.end_suffix = field.text("end_of_word_suffix", "");
  if (const auto unknown = field.find("unk_token")) {
    options.unknown = vocabulary.id_of(unknown->text());
    if (!options.unknown) throw unknown->error("\"" + unknown->text() + "\" is not in the vocabulary");
  }

  const JsonField list = field["merges"];
  if (!list.value().is_array()) throw list.error("a list is expected here");
  BpeMerges merges(list.value().size());
  int32_t rank = 0;
  for (const nlohmann::json& entry : list.value()) {  // "a b", or ["a", "b"]
    std::string left, right;
    if (entry.is_string()) {
      const std::string& both = entry.get_ref<const std::string&>();
      const size_t space = both.find(' ');
      left = both.substr(0, space);
      right = space == std::string::npos ? "" : both.substr(space + 1);
    } else if (entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_string()) {
      left = entry[0], right = entry[1];
    }
    const auto error = [&](const std::string& what) { return list.error("entry " + std::to_string(rank) + ": " + what); };
    if (left.empty() || right.empty()) throw error("two tokens are expected, as \"a b\" or [\"a\", \"b\"]");
    std::string joined = left;  // the right one's mark of continuing a word is not repeated inside one
    joined += right.starts_with(options.continuing_prefix) ? right.substr(options.continuing_prefix.size()) : right;
    const auto left_id = vocabulary.id_of(left), right_id = vocabulary.id_of(right), joined_id = vocabulary.id_of(joined);
    for (const auto& [token, id] : {std::pair(&left, left_id), {&right, right_id}, {&joined, joined_id}}) {
      if (!id) throw error("\"" + *token + "\" is not in the vocabulary");
    }
    merges.add(*left_id, *right_id, {rank++, *joined_id});  // of a pair listed twice the first counts
  }
  return std::make_unique<BpeModel>(std::move(vocabulary), std::move(merges), std::move(options));
}

}  // namespace nemo::huggingface
