#include "recipes/hf_weights.h"

#include "core/checkpoint/convert_dtype.h"
#include "core/exec_context.h"
#include "models/hugging_face.h"

namespace nemo {
std::vector<NamedShape> named_shapes(const ParameterStore& store) {
  std::vector<NamedShape> shapes;
  for (const Parameter* parameter : store.parameters()) {
    const std::span<const int64_t> dims = parameter->global_shape.dims();
    shapes.push_back({parameter->name, {dims.begin(), dims.end()}});
  }
  return shapes;
}

void import_weights(ExecContext& ctx, ParameterStore& store, const DecoderConfig& config, const SafetensorsSet& set) {
  const std::vector<NamedShape> shapes = named_shapes(store);
  const std::vector<Parameter*> parameters = store.parameters();
  const ImportPlan plan = plan_import(hf_name_table(config), shapes, set);
  // A parameter may be put together from several tensors; it is written when its last part has come.
  std::vector<std::vector<float>> pending(shapes.size());
  std::vector<int64_t> missing(shapes.size());
  for (size_t i = 0; i < shapes.size(); ++i) missing[i] = num_elements(shapes[i].shape);
  for (const TheirTensor& theirs : plan.tensors) {
    std::vector<float> values(static_cast<size_t>(num_elements(theirs.shape)));
    convert_dtype(set.bytes(theirs.name), set.find(theirs.name)->dtype, std::as_writable_bytes(std::span(values)), DType::fp32);
    for (const TheirTensor::Part& part : theirs.parts) {
      std::vector<float>& ours = pending[part.ours];
      if (ours.empty()) ours.resize(static_cast<size_t>(num_elements(shapes[part.ours].shape)));
      run_copy(part.copy, std::as_bytes(std::span(values)).data(), std::as_writable_bytes(std::span(ours)).data(), sizeof(float));
      missing[part.ours] -= part.copy.num_elements();
      if (missing[part.ours] > 0) continue;
      store.write(ctx, *parameters[part.ours], ours.data());
      std::vector<float>().swap(ours);
    }
  }
}

std::vector<float> gather_theirs(const TheirTensor& theirs, const std::function<std::vector<float>(size_t)>& values) {
  std::vector<float> result(static_cast<size_t>(num_elements(theirs.shape)));
  for (const TheirTensor::Part& part : theirs.parts) {
    const std::vector<float> ours = values(part.ours);
    run_copy(part.copy.reversed(), std::as_bytes(std::span(ours)).data(), std::as_writable_bytes(std::span(result)).data(), sizeof(float));
  }
  return result;
}

}  // namespace nemo
