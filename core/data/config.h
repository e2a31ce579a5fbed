// The recipe's `data` section: where tokens come from and how many make a batch.
// Not here: reading them (core/data/*), tokenizers (core/tokenizer/config.h).
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/config/field.h"

namespace nemo {

// random: independent uniform ids, nothing to learn. arange: s, s + 1, ... modulo the vocabulary from a random s, learnt at
// once. copy: a random first half, then the same again, learnt by attention only.
enum class MockPattern : uint8_t { random, arange, copy };

std::span<const std::string_view> enum_names(MockPattern);

struct DataConfig {
  std::vector<std::string> blend;  // prefixes of indexed sets, or weight, prefix, weight, prefix, ...
  std::string text;                // a text file, tokenised in memory
  bool mock = false;
  MockPattern mock_pattern = MockPattern::random;
  std::string split = "9999,8,2";
  std::string path_to_cache;  // empty: next to each set
  int64_t micro_batch_size = 1, global_batch_size = 8;
  std::vector<int64_t> rampup_batch_size;  // start, increment, samples
  bool packed_sequence = false;
  bool reset_position_ids = false, reset_attention_mask = false, eod_mask_loss = false;
  int64_t num_workers = 1;

  // A source is chosen: exactly one of blend, text and mock.
  bool has_source() const { return !blend.empty() || !text.empty() || mock; }

  template <class Visit>
  void fields(Visit&& visit) {
    visit("blend", blend, "indexed sets to train on: [prefix], or [weight, prefix, weight, prefix, ...]", Optional{},
          Alias{"data_prefix"});
    visit("text", text, "a text file to train on, tokenised in memory; split cuts it in consecutive parts", Optional{});
    visit("mock", mock, "made-up tokens, for smoke tests and measurements");
    visit("mock_pattern", mock_pattern, "mock: random tokens, or sequences that repeat themselves and can be learnt");
    visit("split", split, "train, validation and test shares of the documents");
    visit("path_to_cache", path_to_cache, "folder of the sample order's index files; null: beside the data", Optional{},
          Alias{"index_mapping_dir"});
    visit("micro_batch_size", micro_batch_size, "samples of one forward pass on one model replica", Positive{},
          AtMost{1e7});
    visit("global_batch_size", global_batch_size, "samples of one optimizer step", Positive{}, AtMost{1e7});
    visit("rampup_batch_size", rampup_batch_size, "[start, increment, samples]: batch growth at the start", Positive{},
          Optional{});
    visit("packed_sequence", packed_sequence, "several samples in one sequence, kept apart in attention");
    visit("reset_position_ids", reset_position_ids, "positions restart after each end of document");
    visit("reset_attention_mask", reset_attention_mask, "attention stays inside a document");
    visit("eod_mask_loss", eod_mask_loss, "no loss on end-of-document tokens");
    visit("num_workers", num_workers, "threads that prepare batches ahead", AtLeast{0});
  }
};

}  // namespace nemo
