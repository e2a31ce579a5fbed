#include "core/tokenizer/huggingface/pre_tokenizer.h"

#include <vector>

#include "core/tokenizer/huggingface/byte_level.h"
#include "core/tokenizer/huggingface/regex.h"

namespace nemo::huggingface {
namespace {

// Radford et al. 2019: contractions, then letters, digits or other signs with the space before them, then white space.
constexpr const char* kGpt2Words = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

struct Range {
  size_t begin, end;
  bool is_match;
};

std::vector<Range> ranges_of(const Regex& regex, std::string_view text, bool invert) {
  std::vector<Range> ranges;
  size_t covered = 0;
  regex.for_each_match(text, [&](size_t begin, size_t end) {
    if (covered < begin) ranges.push_back({covered, begin, invert});
    ranges.push_back({begin, end, !invert});
    covered = end;
  });
  if (covered < text.size()) ranges.push_back({covered, text.size(), invert});
  return ranges;
}

// Names as in the file.
enum class Behavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };

std::vector<Range> merge(const std::vector<Range>& ranges, Behavior behavior) {
  std::vector<Range> merged;
  for (const Range& range : ranges) {
    if (behavior == Behavior::removed && range.is_match) continue;
    bool join = false;
    if (!merged.empty()) {
      const bool before = merged.back().is_match;
      join = (behavior == Behavior::contiguous && before == range.is_match) ||
             (behavior == Behavior::merged_with_previous && range.is_match && !before) ||
             (behavior == Behavior::merged_with_next && !range.is_match && before);
    }
    if (join) {
      merged.back() = {merged.back().begin, range.end, range.is_match};  // joined once: the next match stands alone
    } else {
      merged.push_back(range);
    }
  }
  return merged;
}

class SplitPreTokenizer : public PreTokenizer {
 public:
  SplitPreTokenizer(Regex regex, Behavior behavior, bool invert) : regex_(std::move(regex)), behavior_(behavior), invert_(invert) {}

  void split(std::string_view text, bool at_start, const TakeWord& take) const override {
    std::vector<Range> ranges = ranges_of(regex_, text, invert_);
    if (behavior_ != Behavior::isolated) ranges = merge(ranges, behavior_);
    for (const Range& range : ranges) take(text.substr(range.begin, range.end - range.begin), at_start && range.begin == 0);
  }

 private:
  Regex regex_;
  Behavior behavior_;
  bool invert_;
};

class ByteLevelPreTokenizer : public PreTokenizer {
 public:
  ByteLevelPreTokenizer(bool add_prefix_space, std::optional<Regex> words)
      : add_prefix_space_(add_prefix_space), words_(std::move(words)) {}

  void split(std::string_view text, bool at_start, const TakeWord& take) const override {
    std::string with_space;
    if (add_prefix_space_ && !text.starts_with(' ')) text = (with_space = " ").append(text);
    std::string written;
    const auto give = [&](std::string_view word, bool first) {
      written.clear();
      alphabet_.append_written(written, word);
      take(written, first);
    };
    if (!words_) return give(text, at_start);
    for (const Range& range : ranges_of(*words_, text, false)) {
      give(text.substr(range.begin, range.end - range.begin), at_start && range.begin == 0);
    }
  }

 private:
  bool add_prefix_space_;
  std::optional<Regex> words_;
  ByteLevelAlphabet alphabet_;
};

class SequencePreTokenizer : public PreTokenizer {
 public:
  explicit SequencePreTokenizer(std::vector<std::unique_ptr<PreTokenizer>> steps) : steps_(std::move(steps)) {}

  void split(std::string_view text, bool at_start, const TakeWord& take) const override { run(0, text, at_start, take); }

 private:
  void run(size_t step, std::string_view text, bool at_start, const TakeWord& take) const {
    if (step == steps_.size()) return take(text, at_start);
    if (step + 1 == steps_.size()) return steps_[step]->split(text, at_start, take);
    steps_[step]->split(text, at_start, [&, step](std::string_view word, bool first) { run(step + 1, word, first, take); });
  }

  std::vector<std::unique_ptr<PreTokenizer>> steps_;
};

std::unique_ptr<PreTokenizer> make_split(const JsonField& field) {
  static constexpr std::pair<const char*, Behavior> kBehaviors[] = {{"Removed", Behavior::removed},
                                                                    {"Isolated", Behavior::isolated},
                                                                    {"MergedWithPrevious", Behavior::merged_with_previous},
                                                                    {"MergedWithNext", Behavior::merged_with_next},
                                                                    {"Contiguous", Behavior::contiguous}};
  const JsonField behavior = field["behavior"];
  for (const auto& [name, value] : kBehaviors) {
    if (behavior.text() == name) return std::make_unique<SplitPreTokenizer>(make_pattern(field["pattern"]), value, field.flag("invert", false));
  }
  throw behavior.error("\"" + behavior.text() + "\" is not supported");
}

}  // namespace

std::unique_ptr<PreTokenizer> make_pre_tokenizer(const JsonField& field) {
  const std::string& type = field["type"].text();
  if (type == "ByteLevel") {
    std::optional<Regex> words;
    if (field.flag("use_regex", true)) words.emplace(kGpt2Words, field);
    return std::make_unique<ByteLevelPreTokenizer>(field.flag("add_prefix_space", true), std::move(words));
  }
  if (type == "Split") return make_split(field);
  if (type == "Sequence") {
    std::vector<std::unique_ptr<PreTokenizer>> steps;
    for (const JsonField& step : field["pretokenizers"].elements()) steps.push_back(make_pre_tokenizer(step));
    return std::make_unique<SequencePreTokenizer>(std::move(steps));
  }
  throw field.unsupported();
}

}  // namespace nemo::huggingface
