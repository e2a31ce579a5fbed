// Beam search over the continuations of one prompt: which beams go on, which have finished, when nothing can improve.
// Scores are sums of log-probabilities over length^length_penalty; the search ends once num_beams hypotheses are
// finished and the best open beam, scored at its present length, beats none of them (transformers'
// early_stopping=False). Not here: the model and its cache (recipes/generate.h).
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace nemo {

struct BeamOptions {
  int64_t num_beams = 2;
  int64_t max_new_tokens = 1;
  double length_penalty = 1;
  std::vector<int32_t> eos_ids = {};
};

class BeamSearch {
 public:
  explicit BeamSearch(const BeamOptions& options);

  // An open beam: the tokens so far, and the beam before the last advance that it continues.
  struct Beam {
    std::vector<int32_t> ids;
    float score = 0;
    int64_t origin = 0;
  };
  // The beams the next logits belong to: one before the first advance, then num_beams, best first.
  const std::vector<Beam>& beams() const { return beams_; }

  // logits [beams(), vocab_size], fp32. UsageError where the vocabulary cannot fill the beams.
  void advance(std::span<const float> logits);

  bool done() const { return done_; }
  // New ids of the best finished hypothesis, its eos included; for a search that is done.
  const std::vector<int32_t>& best() const { return finished_.front().ids; }

 private:
  bool is_last(const Beam& beam) const;
  void finish(Beam beam);

  BeamOptions options_;
  std::vector<Beam> beams_;
  std::vector<Beam> finished_;  // best first, at most num_beams; score over length^length_penalty
  bool done_ = false;
};

}  // namespace nemo
