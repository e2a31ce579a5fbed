// Whole models between Hugging Face folders and nemo checkpoints, tensor by tensor as bytes: nothing is computed, so that
// import and export lose nothing.  Not here: proving that the model computes the same (recipes/verify.h).
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "core/config/source.h"
#include "kernels/base/dtype.h"

namespace nemo {

struct ConversionReport {
  int64_t num_tensors = 0;      // of theirs
  int64_t num_parameters = 0;   // elements
  DType dtype = DType::fp32;    // of the first tensor written
};

// config.json, safetensors (sharded or not) and tokenizer files -> a checkpoint that pretrain, generate and export read.
ConversionReport import_folder(const std::string& hf_folder, const std::string& checkpoint);

struct ExportOptions {
  std::optional<DType> dtype = {};  // none: as stored; fp32 takes the master weights where there are any
  uint64_t max_shard_bytes = uint64_t{5} << 30;
};
// folders: where recipes named by the checkpoint's own recipe are found.
ConversionReport export_checkpoint(const std::string& checkpoint, const std::string& hf_folder, const ExportOptions& options, const RecipeFolders& folders);

}  // namespace nemo
