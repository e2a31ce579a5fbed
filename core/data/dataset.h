// What a training set is: numbered samples of token ids. Batching, sharding and prefetching: data_loader.h.
#pragma once
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <vector>

namespace nemo {

inline constexpr int32_t kIgnoredLabel = -100;  // a position that has no loss
inline constexpr int64_t kUnboundedSamples = std::numeric_limits<int64_t>::max();

// One sequence of S positions. labels[i] follows tokens[i], or is kIgnoredLabel.
struct Sample {
  std::vector<int32_t> tokens, labels, positions;
  std::vector<int32_t> segment_starts;  // ascending from 0: tokens see only their own segment
};

// How the end-of-document tokens inside a sample are treated. All off: a sample is one stream of text.
struct DocumentMasking {
  std::optional<int32_t> end_of_document;  // needed where one of the others is on
  bool mask_loss = false;                  // eod_mask_loss: no loss where the input is the end of a document
  bool reset_positions = false;            // reset_position_ids: positions count from 0 after each
  bool separate_documents = false;         // reset_attention_mask: a new segment starts after each
};

// Immutable: samples may be read from any thread, in any order.
class Dataset {
 public:
  virtual ~Dataset() = default;
  virtual int64_t num_samples() const = 0;  // or kUnboundedSamples
  virtual int64_t seq_length() const = 0;
  virtual Sample sample(int64_t index) const = 0;
};

// text [S + 1]: the sample whose inputs are its first S tokens, and labels its last S.
Sample make_sample(std::span<const int32_t> text, const DocumentMasking& masking);

}  // namespace nemo
