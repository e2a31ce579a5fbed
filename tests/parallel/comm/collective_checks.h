// Checks each collective of a group against what its definition says, on whatever carries it. Every member calls them
// alike. Throws where a result is wrong. Not here: the implementations' own failures.
#pragma once
#include "core/exec_context.h"
#include "parallel/comm/process_group.h"

namespace nemo::test {

// exact: sums must be those of rank order, bit for bit; else within what another order may change.
void check_collectives(ExecContext& ctx, const ProcessGroup& group, bool exact);

// Several groups with calls in flight at once, waited for in another order than they were made. Groups of the same
// ranks.
void check_calls_in_flight(ExecContext& ctx, const ProcessGroup& first, const ProcessGroup& second);

}  // namespace nemo::test
