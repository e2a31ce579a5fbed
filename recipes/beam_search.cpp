#include "recipes/beam_search.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "core/error.h"

namespace nemo {
namespace {

struct Candidate {
  float score;
  int64_t beam;
  int32_t id;
};

// log of the sum of exponentials of a row.
float log_denominator(std::span<const float> logits) {
  const float largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - largest);
  return largest + static_cast<float>(std::log(sum));
}

// The `count` best continuations of all beams, best first; of equals the one of the better beam, then of the lower id.
std::vector<Candidate> best_continuations(const std::vector<BeamSearch::Beam>& beams, std::span<const float> logits,
                                          size_t count) {
  const auto better = [](const Candidate& a, const Candidate& b) {
    if (a.score != b.score) return a.score > b.score;
    return a.beam != b.beam ? a.beam < b.beam : a.id < b.id;
  };
  const size_t vocab_size = logits.size() / beams.size();
  std::vector<Candidate> best;  // a heap with the worst on top while the rows are read
  for (size_t beam = 0; beam < beams.size(); ++beam) {
    const std::span<const float> row = logits.subspan(beam * vocab_size, vocab_size);
    const float denominator = log_denominator(row);
    for (size_t id = 0; id < vocab_size; ++id) {
      const Candidate candidate{beams[beam].score + (row[id] - denominator), static_cast<int64_t>(beam),
                                static_cast<int32_t>(id)};
      if (best.size() == count) {
        if (!better(candidate, best.front())) continue;
        std::pop_heap(best.begin(), best.end(), better);
        best.pop_back();
      }
      best.push_back(candidate);
      std::push_heap(best.begin(), best.end(), better);
    }
  }
  std::sort_heap(best.begin(), best.end(), better);
  return best;
}

}  // namespace

BeamSearch::BeamSearch(const BeamOptions& options) : options_(options), beams_(1) {}

bool BeamSearch::is_last(const Beam& beam) const {
  const auto& eos = options_.eos_ids;
  return std::find(eos.begin(), eos.end(), beam.ids.back()) != eos.end() ||
         static_cast<int64_t>(beam.ids.size()) == options_.max_new_tokens;
}

void BeamSearch::finish(Beam beam) {
  beam.score /= static_cast<float>(std::pow(static_cast<double>(beam.ids.size()), options_.length_penalty));
  const auto place = std::upper_bound(finished_.begin(), finished_.end(), beam,
                                      [](const Beam& a, const Beam& b) { return a.score > b.score; });
  finished_.insert(place, std::move(beam));
  if (finished_.size() > static_cast<size_t>(options_.num_beams)) finished_.pop_back();
}

void BeamSearch::advance(std::span<const float> logits) {
  const size_t num_beams = static_cast<size_t>(options_.num_beams);
  // So many that num_beams are left to go on even if every beam also ends in every way it can.
  const size_t num_kept = num_beams * std::max<size_t>(2, 1 + options_.eos_ids.size());
  if (const size_t vocab_size = logits.size() / beams_.size(); vocab_size < num_kept)
    throw UsageError{"generate", "num_beams",
                     std::to_string(num_beams) + " are too many for a vocabulary of " + std::to_string(vocab_size),
                     "at most " + std::to_string(vocab_size / (num_kept / num_beams))};
  std::vector<Beam> open;
  const std::vector<Candidate> candidates = best_continuations(beams_, logits, num_kept);
  for (size_t rank = 0; rank < candidates.size(); ++rank) {
    const Candidate& candidate = candidates[rank];
    Beam beam{
        .ids = beams_[static_cast<size_t>(candidate.beam)].ids, .score = candidate.score, .origin = candidate.beam};
    beam.ids.push_back(candidate.id);
    if (!is_last(beam)) {
      if (open.size() < num_beams) open.push_back(std::move(beam));
    } else if (rank < num_beams) {  // an ending that is not among the best num_beams is forgotten
      finish(std::move(beam));
    }
  }
  beams_ = std::move(open);
  if (beams_.empty()) {  // max_new_tokens: every beam ended
    done_ = true;
  } else if (finished_.size() == num_beams) {
    const Beam& best = beams_.front();
    const double length = std::pow(static_cast<double>(best.ids.size()), options_.length_penalty);
    done_ = !(best.score / static_cast<float>(length) > finished_.back().score);
  }
}

}  // namespace nemo
