#include "core/data/sample_order.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "core/data/numpy_random.h"
#include "core/error.h"

namespace nemo {
namespace {

// The last epoch is shuffled apart when it gives fewer than this share of an epoch's samples, lest its documents, of which
// only some are reached, be mixed over the whole run.
constexpr double kSeparateFinalEpochBelow = 0.80;

void append_shuffled_documents(std::vector<int32_t>& index, const SampleOrderRequest& request, int64_t num_epochs,
                               NumpyRandomState& random) {
  const size_t begin = index.size();
  for (int64_t epoch = 0; epoch < num_epochs; ++epoch) {
    for (int64_t s = request.first_sequence; s < request.end_sequence; ++s) index.push_back(static_cast<int32_t>(s));
  }
  random.shuffle(std::span(index).subspan(begin));
}

void lay_out_samples(SampleOrder& order, std::span<const int32_t> lengths, int64_t seq_length, int64_t num_samples) {
  order.starts_document.reserve(num_samples + 1);
  order.starts_offset.reserve(num_samples + 1);
  uint32_t document = 0;
  int64_t offset = 0;
  const auto record = [&] {
    order.starts_document.push_back(document);
    order.starts_offset.push_back(static_cast<int32_t>(offset));
  };
  record();
  for (int64_t sample = 0; sample < num_samples; ++sample) {
    int64_t remaining = seq_length + 1;
    while (true) {
      const int64_t available = lengths[order.document_index[document]] - offset;
      if (available >= remaining) {
        offset += remaining - 1;  // the next sample begins with this one's last token
        break;
      }
      remaining -= available;
      ++document;
      offset = 0;
    }
    record();
  }
}

}  // namespace

SampleOrder make_sample_order(std::span<const int32_t> lengths, const SampleOrderRequest& request, const std::string& place,
                              const std::string& subject) {
  const int64_t num_documents = request.end_sequence - request.first_sequence;
  if (num_documents <= 0) {
    throw DataError{place, subject, "receives none of the " + std::to_string(lengths.size()) + " documents, but samples are asked of it",
                    "a larger share in data.split, or more documents"};
  }
  const auto share = lengths.subspan(request.first_sequence, num_documents);
  const int64_t epoch_tokens = std::accumulate(share.begin(), share.end(), int64_t{0});
  if (epoch_tokens < 2) {
    throw DataError{place, subject, "its " + std::to_string(num_documents) + " documents hold " + std::to_string(epoch_tokens) +
                                        " tokens, nothing to train on"};
  }
  SampleOrder order;
  order.num_epochs = 1;
  if (request.num_samples) {
    if (*request.num_samples > (std::numeric_limits<int64_t>::max() - epoch_tokens) / request.seq_length) {
      throw DataError{place, subject, std::to_string(*request.num_samples) + " samples are more than can be counted"};
    }
    const int64_t wanted = *request.num_samples * request.seq_length + 1;
    order.num_epochs = std::max<int64_t>(1, (wanted + epoch_tokens - 1) / epoch_tokens);
  }
  const int64_t num_samples = (order.num_epochs * epoch_tokens - 1) / request.seq_length;
  constexpr int64_t kMax = std::numeric_limits<uint32_t>::max() - 1;
  if (num_samples >= kMax || order.num_epochs > kMax / num_documents) {
    throw DataError{place, subject, std::to_string(order.num_epochs) + " epochs of " + std::to_string(num_documents) +
                                        " documents are more than the index can number (2^32)", "fewer samples"};
  }
  if (num_samples == 0) {
    throw DataError{place, subject, "its " + std::to_string(epoch_tokens) + " tokens do not fill one sample of " +
                                        std::to_string(request.seq_length) + " + 1", "a shorter seq_length, or more data"};
  }

  int64_t num_samples_before_final = num_samples;
  bool separate_final_epoch = false;
  if (order.num_epochs > 1) {
    const int64_t before = ((order.num_epochs - 1) * epoch_tokens - 1) / request.seq_length;
    const int64_t samples_per_epoch = (epoch_tokens - 1) / request.seq_length;
    separate_final_epoch = *request.num_samples - before < static_cast<int64_t>(kSeparateFinalEpochBelow * samples_per_epoch);
    if (separate_final_epoch) num_samples_before_final = before;
  }

  NumpyRandomState random(request.seed);
  order.document_index.reserve(order.num_epochs * num_documents);
  append_shuffled_documents(order.document_index, request, order.num_epochs - separate_final_epoch, random);
  if (separate_final_epoch) append_shuffled_documents(order.document_index, request, 1, random);

  lay_out_samples(order, lengths, request.seq_length, num_samples);

  order.shuffle_index.resize(num_samples);
  std::iota(order.shuffle_index.begin(), order.shuffle_index.end(), 0u);
  random.shuffle(std::span(order.shuffle_index).first(num_samples_before_final));
  random.shuffle(std::span(order.shuffle_index).subspan(num_samples_before_final));
  return order;
}

}  // namespace nemo
