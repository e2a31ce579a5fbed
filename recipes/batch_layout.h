// A micro-batch on the device: tokens, labels, positions and segments as the model reads them.
#pragma once
#include "core/data/data_loader.h"
#include "core/exec_context.h"
#include "core/nn/token_layout.h"
#include "parallel/apply.h"

namespace nemo {

// Waits for nothing that the device does. dropout's token ids count positions over all samples of the run. Where ranks share
// the sequences or the residual stream, the part of this one; each of them is given the whole batch.
TokenLayout place(ExecContext& ctx, const MicroBatch& batch, const ModelRanks& ranks = {});

}  // namespace nemo
