// Weights between a Hugging Face folder's tensors and a model's parameters, through the family's name table.
// Not here: config.json (models/hugging_face.h), whole folders (recipes/convert.h).
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "core/checkpoint/name_table.h"
#include "core/nn/parameter_store.h"
#include "models/decoder/config.h"

namespace nemo {

// Names and unpadded shapes of all parameters, in declaration order.
std::vector<NamedShape> named_shapes(const ParameterStore& store);

// Fills every parameter. CheckpointError lists what is missing, unexpected or of another shape.
void import_weights(ExecContext& ctx, ParameterStore& store, const DecoderConfig& config, const SafetensorsSet& set);

// One of their tensors, put together from ours: values(i) gives parameter i of named_shapes in fp32.
std::vector<float> gather_theirs(const TheirTensor& theirs, const std::function<std::vector<float>(size_t)>& values);

}  // namespace nemo
