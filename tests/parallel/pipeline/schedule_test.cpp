// Every schedule is complete, ordered and free of deadlock; and does what its paper says about memory.
#include "parallel/pipeline/schedule.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <deque>
#include <map>
#include <set>

#include "core/error.h"
#include "parallel/pipeline/stage_layers.h"

namespace nemo::test {
namespace {

using Kind = PipelineAction::Kind;

// Plays the lists of all stages: a receive is posted, a computation waits for what it receives, a link carries messages
// in order. Returns what went wrong.
std::string play(const std::vector<std::vector<PipelineAction>>& stages, const PipelineShape& shape,
                 bool split_weights) {
  using Message = std::pair<int64_t, int64_t>;                    // micro-batch, chunk of the receiver
  std::map<std::pair<int64_t, bool>, std::deque<Message>> links;  // by (receiver, forward)
  std::vector<size_t> next(stages.size());
  std::vector<std::set<std::string>> done(stages.size());
  std::vector<std::map<bool, std::deque<Message>>> posted(stages.size());
  const auto told = [](Kind kind, int64_t micro_batch, int64_t chunk) {
    return to_string(PipelineAction{kind, micro_batch, chunk});
  };
  for (bool moved = true; moved;) {
    moved = false;
    for (size_t s = 0; s < stages.size(); ++s) {
      while (next[s] < stages[s].size()) {
        const PipelineAction& action = stages[s][next[s]];
        const PipelinePlace here{static_cast<int64_t>(s), action.chunk};
        const std::string name = "stage " + std::to_string(s) + ": " + to_string(action);
        const bool forward = action.kind <= Kind::send_forward;
        if (done[s].contains(to_string(action))) return name + " happens twice";
        if (action.kind == Kind::receive_forward || action.kind == Kind::receive_backward) {
          posted[s][forward].push_back({action.micro_batch, action.chunk});
        } else if (action.kind == Kind::forward || action.kind == Kind::backward) {
          const bool receives = forward ? previous_place(shape, here).has_value() : next_place(shape, here).has_value();
          if (receives) {
            std::deque<Message>&wanted = posted[s][forward], &link = links[{here.stage, forward}];
            if (std::ranges::find(wanted, Message{action.micro_batch, action.chunk}) == wanted.end())
              return name + " was not received";
            if (link.empty()) break;  // waits
            if (link.front() != wanted.front() || wanted.front() != Message{action.micro_batch, action.chunk})
              return name + " meets a message of another micro-batch or chunk";
            link.pop_front();
            wanted.pop_front();
          }
          if (!forward && !done[s].contains(told(Kind::forward, action.micro_batch, action.chunk)))
            return name + " comes before its forward";
        } else if (action.kind == Kind::weight_gradient) {
          if (!done[s].contains(told(Kind::backward, action.micro_batch, action.chunk)))
            return name + " comes before its backward";
        } else {
          if (!done[s].contains(told(forward ? Kind::forward : Kind::backward, action.micro_batch, action.chunk)))
            return name + " sends what is not computed";
          const auto to = forward ? next_place(shape, here) : previous_place(shape, here);
          if (!to) return name + " has nowhere to go";
          links[{to->stage, forward}].push_back({action.micro_batch, to->chunk});
        }
        done[s].insert(to_string(action));
        ++next[s];
        moved = true;
      }
    }
  }
  for (size_t s = 0; s < stages.size(); ++s) {
    if (next[s] < stages[s].size())
      return "stage " + std::to_string(s) + " waits for ever at " + to_string(stages[s][next[s]]);
    for (int64_t m = 0; m < shape.num_micro_batches; ++m)
      for (int64_t c = 0; c < shape.num_chunks; ++c)
        for (const Kind kind : {Kind::forward, Kind::backward, Kind::weight_gradient})
          if ((kind != Kind::weight_gradient || split_weights) && !done[s].contains(told(kind, m, c)))
            return "stage " + std::to_string(s) + " never runs " + told(kind, m, c);
  }
  for (const auto& [link, messages] : links)
    if (!messages.empty()) return "a message to stage " + std::to_string(link.first) + " is never received";
  return "";
}

std::vector<std::vector<PipelineAction>> all_stages(PipelineSchedule schedule, const PipelineShape& shape) {
  std::vector<std::vector<PipelineAction>> stages;
  for (int64_t stage = 0; stage < shape.num_stages; ++stage) stages.push_back(pipeline_actions(schedule, shape, stage));
  return stages;
}

// Micro-batches whose activations are held at the worst moment; `until` ends one.
int64_t most_in_flight(const std::vector<PipelineAction>& actions, Kind until) {
  int64_t now = 0, most = 0;
  for (const PipelineAction& action : actions) {
    if (action.kind == Kind::forward) most = std::max(most, ++now);
    if (action.kind == until) --now;
  }
  return most;
}

}  // namespace

TEST_CASE("every schedule runs to its end", "[pipeline]") {
  for (const int64_t stages : {1, 2, 3, 4, 8})
    for (const int64_t chunks : {1, 2, 3, 5})
      for (const int64_t micro_batches : {1, 2, 3, 4, 6, 8, 12, 24, 32})
        for (const PipelineSchedule schedule :
             {PipelineSchedule::one_forward_one_backward, PipelineSchedule::zero_bubble}) {
          const bool zero_bubble = schedule == PipelineSchedule::zero_bubble;
          if (chunks > 1 && (zero_bubble || micro_batches % stages != 0)) continue;
          const PipelineShape shape{stages, chunks, micro_batches};
          CAPTURE(stages, chunks, micro_batches, zero_bubble);
          REQUIRE(play(all_stages(schedule, shape), shape, zero_bubble) == "");
        }
}

TEST_CASE("the player of schedules finds what is wrong with one", "[pipeline]") {
  const PipelineShape shape{2, 1, 3};
  auto stages = all_stages(PipelineSchedule::one_forward_one_backward, shape);
  REQUIRE(play(stages, shape, false) == "");
  SECTION("a send left out") {
    std::erase(stages[0], PipelineAction{Kind::send_forward, 1, 0});
    CHECK_THAT(play(stages, shape, false), Catch::Contains("another micro-batch") || Catch::Contains("waits for ever"));
  }
  SECTION("backwards in another order than they are sent") {
    for (PipelineAction& action : stages[0])
      if (action.kind == Kind::backward || action.kind == Kind::receive_backward)
        action.micro_batch = 2 - action.micro_batch;
    CHECK(play(stages, shape, false) != "");
  }
  SECTION("a micro-batch left out") {
    for (auto& stage : stages)
      std::erase_if(stage, [](const PipelineAction& action) { return action.micro_batch == 2; });
    CHECK_THAT(play(stages, shape, false), Catch::Contains("never runs forward 2.0"));
  }
  SECTION("weight gradients forgotten") {
    CHECK_THAT(play(stages, shape, true), Catch::Contains("never runs weight_gradient 0.0"));
  }
}

TEST_CASE("a stage holds as many micro-batches as there are stages behind it, and itself", "[pipeline]") {
  const PipelineShape shape{4, 1, 16};
  for (int64_t stage = 0; stage < 4; ++stage) {
    CHECK(most_in_flight(pipeline_actions(PipelineSchedule::one_forward_one_backward, shape, stage), Kind::backward) ==
          4 - stage);
    // Until their weight gradients are done: never more than the first stage of 1F1B, plus the one being computed.
    CHECK(most_in_flight(pipeline_actions(PipelineSchedule::zero_bubble, shape, stage), Kind::weight_gradient) == 4);
  }
  const PipelineShape interleaved{4, 2, 16};  // warm-up 2 (PP - 1 - r) + (VPP - 1) PP, and one more
  for (int64_t stage = 0; stage < 4; ++stage)
    CHECK(most_in_flight(pipeline_actions(PipelineSchedule::one_forward_one_backward, interleaved, stage),
                         Kind::backward) == 2 * (3 - stage) + 4 + 1);
}

TEST_CASE("schedules that do not exist", "[pipeline]") {
  using Catch::Contains;
  const auto message = [](PipelineSchedule schedule, const PipelineShape& shape) -> std::string {
    try {
      pipeline_actions(schedule, shape, 0);
    } catch (const PlanError& error) {
      return error.what();
    }
    return "no error";
  };
  CHECK_THAT(message(PipelineSchedule::one_forward_one_backward, {4, 2, 6}),
             Contains("6 micro-batches are not a multiple of the 4 stages") && Contains("global_batch_size"));
  CHECK_THAT(message(PipelineSchedule::zero_bubble, {4, 2, 8}), Contains("zero_bubble") && Contains("one chunk"));
}

TEST_CASE("layers are dealt to stages", "[pipeline]") {
  using Layers = std::vector<int64_t>;
  CHECK(layers_of_stages(8, 4, 1, {}) == Layers{2, 2, 2, 2});
  CHECK(layers_of_stages(8, 2, 2, {1, 3, 4, 0}) == Layers{1, 3, 4, 0});
  const auto message = [](int64_t stages, int64_t chunks, const Layers& layout) -> std::string {
    try {
      layers_of_stages(8, stages, chunks, layout);
    } catch (const PlanError& error) {
      return error.what();
    }
    return "no error";
  };
  using Catch::Contains;
  CHECK_THAT(message(3, 1, {}),
             Contains("3 chunks do not divide 8 layers") && Contains("pipeline_model_parallel_layout"));
  CHECK_THAT(message(2, 1, {4, 3}), Contains("has 7 layers, the model 8"));
  CHECK_THAT(message(2, 2, {4, 4}), Contains("has 2 counts for 2 stages of 2 chunks") && Contains("4 counts"));
  CHECK_THAT(message(4, 1, {4, 0, 3, 1}), Contains("place 1 of the layout has 0 layers"));
  // Blocks: 0 is the embedding, 9 the head.
  const auto first = blocks_of_stage({1, 3, 4, 0}, 2, 0), second = blocks_of_stage({1, 3, 4, 0}, 2, 1);
  REQUIRE(first.size() == 2);
  CHECK((first[0].begin == 0 && first[0].end == 2 && first[1].begin == 5 && first[1].end == 9));
  CHECK((second[0].begin == 2 && second[0].end == 5 && second[1].begin == 9 && second[1].end == 10));
}

}  // namespace nemo::test
