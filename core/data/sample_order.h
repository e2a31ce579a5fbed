// Which tokens make up sample i: Megatron-LM's document, sample and shuffle index (upstream: gpt_dataset.py, helpers.cpp
// of megatron/core/datasets), equal to the bit. Reading the tokens is gpt_dataset.h's.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace nemo {

struct SampleOrderRequest {
  int64_t first_sequence = 0, end_sequence = 0;  // the split's share of the set
  std::optional<int64_t> num_samples;            // at least so many, over as many epochs as that takes; none: one epoch
  int64_t seq_length = 0;
  uint32_t seed = 0;
};

// A sample is seq_length + 1 tokens of the sequences laid end to end in document_index order, each beginning with the last
// token of the one before. It starts at token starts_offset[i] of sequence document_index[starts_document[i]].
struct SampleOrder {
  int64_t num_epochs = 0;
  std::vector<int32_t> document_index;   // [epochs * sequences of the split], shuffled
  std::vector<uint32_t> starts_document; // [samples + 1], the last closes the last sample
  std::vector<int32_t> starts_offset;    // [samples + 1]
  std::vector<uint32_t> shuffle_index;   // [samples], a permutation
};

// lengths: tokens of every sequence of the set. place and subject name the set and the split in the DataError thrown when
// there is nothing to draw samples from.
SampleOrder make_sample_order(std::span<const int32_t> lengths, const SampleOrderRequest& request, const std::string& place,
                              const std::string& subject);

}  // namespace nemo
