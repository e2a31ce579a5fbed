#include "parallel/apply.h"

#include <memory>

#include "core/error.h"
#include "core/sharding/slice.h"
#include "parallel/context/context_attention.h"
#include "parallel/tensor/vocabulary_cut.h"

namespace nemo {
namespace {

bool lies_over_ranks(const Placement& placement) {
  return std::holds_alternative<Shard>(placement);
}

std::unique_ptr<LinearBoundary> boundary_for(const ModuleRule& rule, const TensorRanks& ranks,
                                             const std::string& name) {
  if (std::holds_alternative<Replicate>(rule.input) && lies_over_ranks(rule.output))
    return std::make_unique<ColumnBoundary>(ranks, name);
  if (lies_over_ranks(rule.input) && std::holds_alternative<Partial>(rule.output))
    return std::make_unique<RowBoundary>(ranks, name);
  throw PlanError{"tensor_parallel", name, "its rule is neither a cut of columns nor of rows"};
}

void attach_to_linears(const TensorRanks& ranks, const Seams& seams, std::span<const ModuleRule> rules) {
  for (const Seams::NamedLinear& each : seams.linears) {
    std::unique_ptr<LinearBoundary> boundary = boundary_for(rule_for(rules, each.name), ranks, each.name);
    const bool sums = dynamic_cast<const RowBoundary*>(boundary.get()) != nullptr;
    each.linear->set_boundary(std::move(boundary), !sums || ranks.group.rank() == 0);
  }
}

std::unique_ptr<AttentionCore> core_for(ContextParallelComm comm, const AttentionOptions& options,
                                        const ProcessGroup& context) {
  if (context.size() == 1) return std::make_unique<LocalAttention>(options);
  switch (comm) {
    case ContextParallelComm::all_gather:
      return std::make_unique<GatheredAttention>(options, context);
    case ContextParallelComm::a2a:
      return std::make_unique<ExchangedAttention>(options, context);
    case ContextParallelComm::p2p:
      break;
  }
  return std::make_unique<RingAttention>(options, context);
}

// Each core sees some of the heads, and some of the tokens.
void replace_attention(const ModelRanks& ranks, const Seams& seams) {
  for (const Seams::NamedAttention& each : seams.attention) {
    AttentionOptions options = (*each.core)->options();
    const int64_t own = each.num_heads / ranks.tensor.group.size();
    options.first_head = ranks.tensor.group.rank() * own;
    options.total_heads = each.num_heads;
    if (ranks.context.size() > 1 && ranks.context_comm == ContextParallelComm::p2p && options.window > 0)
      throw PlanError{each.name, "a window of " + std::to_string(options.window) + " tokens",
                      "cannot go round a ring: p2p knows whole chunks only", "cp_comm_type=all_gather or a2a"};
    *each.core = core_for(ranks.context_comm, options, ranks.context);
  }
}

}  // namespace

void cut_parameters(const ModelRanks& ranks, ParameterStore& store, std::span<const ShardRule> rules) {
  if (ranks.tensor.group.size() == 1) return;
  for (Parameter* const parameter : store.parameters())
    cut(*parameter, rule_for(rules, parameter->name), ranks.tensor.group.rank(), ranks.tensor.group.size(),
        ranks.tensor.stream_is_cut);
}

void attach(const ModelRanks& ranks, const Seams& seams, std::span<const ModuleRule> rules) {
  if (ranks.tensor.group.size() > 1) {
    attach_to_linears(ranks.tensor, seams, rules);
    if (seams.embedding != nullptr) seams.embedding->set_boundary(std::make_unique<CutEmbeddingBoundary>(ranks.tensor));
    if (seams.vocabulary_cut != nullptr) *seams.vocabulary_cut = std::make_unique<RankedVocabularyCut>(ranks.tensor);
  }
  if (ranks.tensor.group.size() > 1 || ranks.context.size() > 1) replace_attention(ranks, seams);
}

}  // namespace nemo
