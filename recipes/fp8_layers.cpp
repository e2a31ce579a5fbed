#include "recipes/fp8_layers.h"

#include <algorithm>
#include <charconv>

#include "core/error.h"
#include "kernels/base/cuda_device.h"
#include "kernels/quantise/quantise.h"
#include "recipes/schema.h"

namespace nemo {

Fp8Layers fp8_layers(const Recipe& recipe) {
  const TrainerConfig& trainer = recipe.trainer;
  if (trainer.precision != Precision::fp8_mixed) return {};
  if (!trainer.first_last_layers_bf16) return {0, recipe.model.num_layers};
  return {trainer.num_layers_at_start_in_bf16, recipe.model.num_layers - trainer.num_layers_at_end_in_bf16};
}

std::function<bool(const std::string& block)> blocks_in_fp8(Fp8Layers layers) {
  return [layers](const std::string& block) {
    constexpr std::string_view kPrefix = "layers.";
    if (!block.starts_with(kPrefix)) return false;
    int64_t layer = -1;
    std::from_chars(block.data() + kPrefix.size(), block.data() + block.size(), layer);
    return layer >= layers.begin && layer < layers.end;
  };
}

void check_fp8(const Recipe& recipe) {
  if (recipe.trainer.precision != Precision::fp8_mixed) return;
  const auto fail = [&](const std::string& key, const std::string& reason, const std::string& suggestion) {
    throw RecipeError{recipe.places.where(key), key, reason, suggestion};
  };
  constexpr int64_t kMultiple = kernels::kQuantiseMultiple;
  const auto check = [&](const std::string& key, const std::string& what, int64_t size) {
    if (size % kMultiple != 0)
      fail(key,
           what + " is " + std::to_string(size) + ", and fp8 products take multiples of " + std::to_string(kMultiple),
           "trainer.precision=bf16-mixed");
  };
  const DecoderConfig& model = recipe.model;
  const int64_t tensor = recipe.parallelism.tensor_model_parallel_size;
  const std::string of_rank = tensor > 1 ? " of a tensor rank" : "";
  const int64_t heads = model.num_attention_heads / tensor, groups = std::max<int64_t>(1, model.num_query_groups / tensor);
  check("model.hidden_size", "the width of the residual stream", model.hidden_size);
  check("model.num_attention_heads", "the width of all query heads" + of_rank, heads * model.head_dim);
  check("model.num_query_groups", "the width of query, key and value heads together" + of_rank,
        (heads + 2 * groups) * model.head_dim);
  check("model.ffn_hidden_size", "the width of the feed-forward block" + of_rank, model.ffn_hidden_size / tensor);
  const int64_t context = recipe.parallelism.context_parallel_size;
  check("data.micro_batch_size",
        std::string("micro_batch_size times model.seq_length") + (context > 1 ? " of a context rank" : ""),
        recipe.data.micro_batch_size * model.seq_length / context);
  if (!fp8_layers(recipe).any())
    fail("trainer.first_last_layers_bf16",
         "leaves none of the " + std::to_string(model.num_layers) + " layers to fp8 (" +
             std::to_string(recipe.trainer.num_layers_at_start_in_bf16) + " first, " +
             std::to_string(recipe.trainer.num_layers_at_end_in_bf16) + " last)",
         "trainer.precision=bf16-mixed, or fewer layers in bf16");
}

void require_fp8(Device device) {
  if (!device.is_cuda()) return;
  const kernels::CudaDeviceInfo info = kernels::cuda_device_info(device.index);
  if (info.major * 10 + info.minor >= 89) return;
  throw DeviceError{to_string(device), "trainer.precision",
                    "fp8-mixed needs compute capability 8.9, and " + info.name + " has " + std::to_string(info.major) +
                        "." + std::to_string(info.minor),
                    "trainer.precision=bf16-mixed"};
}

}  // namespace nemo
