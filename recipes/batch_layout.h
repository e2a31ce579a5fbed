// A micro-batch on the device: tokens, labels, positions and segments as the model reads them.
#pragma once
#include "core/data/data_loader.h"
#include "core/exec_context.h"
#include "core/nn/token_layout.h"

namespace nemo {

// Waits for nothing that the device does. dropout's token ids count positions over all samples of the run.
TokenLayout place(ExecContext& ctx, const MicroBatch& batch);

}  // namespace nemo
