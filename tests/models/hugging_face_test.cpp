#include "models/hugging_face.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "models/registry.h"
#include "tests/core/checkpoint/checkpoint_files.h"

using namespace nemo;
using namespace nemo::test;
using nlohmann::json;

namespace {

const std::string kGolden = NEMO_SOURCE_DIR "/tests/golden/";
const char* const kCases[] = {"gpt2", "llama2-mha", "llama3-gqa", "mistral-swa", "qwen2", "qwen3", "generate-greedy"};

json golden_json(const std::string& name) {
  return json::parse(read_file(kGolden + name + "/config.json"));
}
DecoderConfig parsed(const json& config) {
  return parse_hf_config(config.dump(), "config.json").decoder;
}

// What refusing the golden config with `change` says, without the place.
std::string refusal(const std::string& name, const json& change) {
  json config = golden_json(name);
  config.merge_patch(change);
  for (const auto& [key, value] : change.items()) config[key] = value;  // merge_patch deletes where the value is null
  const std::string error = error_of<CheckpointError>([&] { parsed(config); });
  return error.starts_with("config.json: ") ? error.substr(13) : error;
}

DecoderConfig changed(const std::string& name, const json& change) {
  json config = golden_json(name);
  for (const auto& [key, value] : change.items()) config[key] = value;
  return parsed(config);
}

std::string without(const std::string& name, const std::string& key) {
  json config = golden_json(name);
  config.erase(key);
  const std::string error = error_of<CheckpointError>([&] { parsed(config); });
  return error.starts_with("config.json: ") ? error.substr(13) : error;
}

// Our tensors for a config: what the decoder will have.
std::vector<NamedShape> parameters_of(const DecoderConfig& c) {
  std::vector<NamedShape> list{{"embedding.weight", {c.vocab_size, c.hidden_size}}};
  const auto norm = [&](const std::string& name, int64_t size) {
    list.push_back({name + ".weight", {size}});
    if (c.normalization == Normalization::layer_norm) list.push_back({name + ".bias", {size}});
  };
  const auto linear = [&](const std::string& name, int64_t out, int64_t in, bool bias) {
    list.push_back({name + ".weight", {out, in}});
    if (bias) list.push_back({name + ".bias", {out}});
  };
  if (c.position_embedding_type == PositionEmbedding::learned)
    list.push_back({"position_embedding.weight", {c.max_position_embeddings, c.hidden_size}});
  for (int64_t i = 0; i < c.num_layers; ++i) {
    const std::string layer = "layers." + std::to_string(i) + ".";
    norm(layer + "attention_norm", c.hidden_size);
    linear(layer + "attention.wq", c.num_attention_heads * c.head_dim, c.hidden_size, c.qkv_bias());
    linear(layer + "attention.wk", c.num_query_groups * c.head_dim, c.hidden_size, c.qkv_bias());
    linear(layer + "attention.wv", c.num_query_groups * c.head_dim, c.hidden_size, c.qkv_bias());
    linear(layer + "attention.wo", c.hidden_size, c.num_attention_heads * c.head_dim, c.add_bias_linear);
    if (c.qk_norm) list.push_back({layer + "attention.q_norm.weight", {c.head_dim}});
    if (c.qk_norm) list.push_back({layer + "attention.k_norm.weight", {c.head_dim}});
    norm(layer + "mlp_norm", c.hidden_size);
    if (c.gated()) linear(layer + "mlp.gate", c.ffn_hidden_size, c.hidden_size, c.add_bias_linear);
    linear(layer + "mlp.up", c.ffn_hidden_size, c.hidden_size, c.add_bias_linear);
    linear(layer + "mlp.down", c.hidden_size, c.ffn_hidden_size, c.add_bias_linear);
  }
  norm("final_norm", c.hidden_size);
  if (!c.share_embeddings_and_output_weights) list.push_back({"output.weight", {c.vocab_size, c.hidden_size}});
  return list;
}

using Buffers = std::vector<std::vector<std::byte>>;

Buffers imported(const DecoderConfig& config, const std::vector<NamedShape>& ours, const SafetensorsSet& set,
                 Dialect expected) {
  const ImportPlan plan = plan_import(hf_name_table(config), ours, set);
  CHECK(plan.dialect == expected);
  Buffers buffers(ours.size());
  for (size_t i = 0; i < ours.size(); ++i) {
    size_t bytes = 4;
    for (const int64_t size : ours[i].shape) bytes *= static_cast<size_t>(size);
    buffers[i].resize(bytes);
  }
  for (const TheirTensor& tensor : plan.tensors) {
    for (const TheirTensor::Part& part : tensor.parts)
      run_copy(part.copy, set.bytes(tensor.name).data(), buffers[part.ours].data(), 4);
  }
  return buffers;
}

void exported(const DecoderConfig& config, const std::vector<NamedShape>& ours, const Buffers& buffers,
              const std::string& folder, uint64_t max_shard_bytes, Dialect dialect) {
  const std::vector<TheirTensor> theirs = map_names(hf_name_table(config), ours, dialect);
  std::vector<SafetensorsEntry> entries;
  std::map<std::string, const TheirTensor*> by_name;
  for (const TheirTensor& tensor : theirs) {
    entries.push_back({tensor.name, DType::fp32, tensor.shape});
    by_name[tensor.name] = &tensor;
  }
  SafetensorsSetWriter writer(folder, entries, max_shard_bytes);
  for (const SafetensorsEntry& entry : writer.entries()) {
    std::vector<std::byte> buffer(declared_bytes("", entry));
    for (const TheirTensor::Part& part : by_name[entry.name]->parts)
      run_copy(part.copy.reversed(), buffers[part.ours].data(), buffer.data(), 4);
    writer.append(entry.name, buffer);
  }
  writer.finish();
}

}  // namespace

TEST_CASE("Golden configs are understood", "[models][hf]") {
  const DecoderConfig gpt2 = parsed(golden_json("gpt2"));
  CHECK(gpt2.family == "gpt");
  CHECK(gpt2.num_layers == 2);
  CHECK(gpt2.ffn_hidden_size == 128);
  CHECK(gpt2.head_dim == 8);
  CHECK(gpt2.activation == MlpActivation::gelu_tanh);
  CHECK(gpt2.max_position_embeddings == 64);
  CHECK(gpt2.share_embeddings_and_output_weights);
  CHECK(gpt2.add_bias_linear);
  const DecoderConfig llama3 = parsed(golden_json("llama3-gqa"));
  CHECK(llama3.num_query_groups == 2);
  CHECK(llama3.rotary_base == 500000);
  CHECK(llama3.rope_scaling == RopeScaling{RopeScalingType::llama3, 8, 1, 4, 32});
  CHECK_FALSE(llama3.share_embeddings_and_output_weights);
  CHECK(parsed(golden_json("mistral-swa")).window_size == 6);
  const DecoderConfig qwen2 = parsed(golden_json("qwen2"));
  CHECK(qwen2.add_qkv_bias);
  CHECK_FALSE(qwen2.add_bias_linear);
  CHECK(qwen2.window_size == 0);
  CHECK(qwen2.share_embeddings_and_output_weights);
  const DecoderConfig qwen3 = parsed(golden_json("qwen3"));
  CHECK(qwen3.qk_norm);
  CHECK(qwen3.head_dim == 16);
  const HfConfig generate = read_hf_config(kGolden + "generate-greedy");
  CHECK(generate.eos_token_ids == std::vector<int64_t>{127});
  CHECK(generate.bos_token_id == 1);
  CHECK(generate.pad_token_id == 0);
}

TEST_CASE("Version 4 configs say the same as version 5", "[models][hf]") {
  json config = golden_json("llama3-gqa");
  config["rope_theta"] = 500000.0;
  config["rope_scaling"] = {{"type", "llama3"},
                            {"factor", 8.0},
                            {"low_freq_factor", 1.0},
                            {"high_freq_factor", 4.0},
                            {"original_max_position_embeddings", 32}};
  config["torch_dtype"] = "bfloat16";
  config.erase("rope_parameters");
  config.erase("dtype");
  CHECK(parsed(config) == parsed(golden_json("llama3-gqa")));
  CHECK(parse_hf_config(config.dump(), "").dtype == DType::bf16);
  config["rope_scaling"] = {{"type", "linear"}, {"factor", 2.0}};
  CHECK(parsed(config).rope_scaling.type == RopeScalingType::linear);
  CHECK(parsed(config).rope_scaling.factor == 2);
  config["rope_scaling"] = nullptr;
  CHECK(parsed(config).rope_scaling == RopeScaling{});
  config.erase("rope_scaling");
  config.erase("rope_theta");
  config.erase("num_key_value_heads");
  config.erase("head_dim");
  CHECK(parsed(config).rotary_base == 10000);
  CHECK(parsed(config).num_query_groups == 4);
  CHECK(parsed(config).head_dim == 8);
}

TEST_CASE("Every config is written and read again the same, in both styles", "[models][hf]") {
  std::vector<HfConfig> configs;
  for (const char* name : kCases) configs.push_back(read_hf_config(kGolden + name));
  for (const Preset& preset : list_presets()) {
    HfConfig config{.decoder = preset.config, .dtype = DType::bf16, .bos_token_id = 1, .pad_token_id = {}, .eos_token_ids = {1, 2}};
    config.decoder.preset.clear();
    config.decoder.resolve();
    config.decoder.seq_length = config.decoder.max_position_embeddings;
    configs.push_back(config);
  }
  HfConfig sliding = read_hf_config(kGolden + "qwen2");
  sliding.decoder.window_size = 16;
  configs.push_back(sliding);
  HfConfig biased = read_hf_config(kGolden + "llama2-mha");
  biased.decoder.add_bias_linear = true;
  configs.push_back(biased);
  HfConfig wide = read_hf_config(kGolden + "qwen2");
  wide.decoder.head_dim = 12;
  configs.push_back(wide);
  for (const HfConfig& config : configs) {
    for (const HfStyle style : {HfStyle::v4, HfStyle::v5}) {
      const std::string text = hf_config_text(config, style);
      INFO(text);
      CHECK(parse_hf_config(text, "written") == config);
    }
  }
}

TEST_CASE("Keys that would change the arithmetic are refused by name", "[models][hf]") {
  CHECK(refusal("gpt2", {{"activation_function", "quick_gelu"}}) ==
        "activation_function: 'quick_gelu' is not supported; try: gelu_new, gelu, relu or silu");
  CHECK(refusal("gpt2", {{"scale_attn_weights", false}}) ==
        "scale_attn_weights: false is not supported; try: a model with true");
  CHECK(refusal("gpt2", {{"scale_attn_by_inverse_layer_idx", true}}) ==
        "scale_attn_by_inverse_layer_idx: true is not supported; try: a model with false");
  CHECK(refusal("gpt2", {{"reorder_and_upcast_attn", true}}) ==
        "reorder_and_upcast_attn: true is not supported; try: a model with false");
  CHECK(refusal("gpt2", {{"add_cross_attention", true}}) ==
        "add_cross_attention: true is not supported; try: a model with false");
  CHECK(refusal("gpt2", {{"n_head", 5}}) == "n_head: 5 does not divide n_embd (32)");
  CHECK(refusal("gpt2", {{"attn_pdrop", 1.0}}) == "attn_pdrop: must be at least 0 and below 1");
  CHECK(refusal("gpt2", {{"pruned_heads", {{"0", {1}}}}}) == "pruned_heads: is not supported");
  CHECK(refusal("llama2-mha", {{"hidden_act", "gelu"}}) == "hidden_act: 'gelu' is not supported; try: silu");
  CHECK(refusal("llama2-mha", {{"attention_bias", true}}) ==
        "attention_bias: true without the other bias is not supported");
  CHECK(refusal("llama2-mha", {{"mlp_bias", true}}) == "mlp_bias: true without the other bias is not supported");
  CHECK(refusal("llama2-mha", {{"sliding_window", 8}}) ==
        "sliding_window: is not part of Llama; try: model_type mistral");
  CHECK(refusal("llama2-mha", {{"num_key_value_heads", 3}}) ==
        "num_key_value_heads: 3 does not divide num_attention_heads (4)");
  CHECK(refusal("llama2-mha", {{"head_dim", 7}}) ==
        "head_dim: must be an even number above zero, for rope turns pairs");
  CHECK(refusal("llama2-mha", {{"partial_rotary_factor", 0.5}}) ==
        "partial_rotary_factor: other than 1 is not supported");
  CHECK(refusal("qwen3", {{"attention_bias", true}}) ==
        "attention_bias: true is not supported; try: a model with false");
  CHECK(refusal("qwen2", {{"layer_types", {"full_attention", "sliding_attention"}}}) ==
        "layer_types: mixes full and sliding attention, which is not supported");
  CHECK(refusal("qwen2", {{"layer_types", {"full_attention"}}}) == "layer_types: does not have one entry a layer");
  CHECK(refusal("qwen2", {{"layer_types", {"linear_attention", "linear_attention"}}}) ==
        "layer_types: 'linear_attention' is not supported");
  CHECK(refusal("qwen2", {{"layer_types", {"sliding_attention", "sliding_attention"}}, {"sliding_window", 4}}) ==
        "layer_types: asks for sliding attention, but use_sliding_window is false");
  CHECK(
      refusal(
          "qwen2",
          {{"layer_types", nullptr}, {"use_sliding_window", true}, {"sliding_window", 4}, {"max_window_layers", 1}}) ==
      "max_window_layers: gives some layers a sliding window and others none, which is not supported");
  const auto rope = [](const json& parameters) { return refusal("llama2-mha", {{"rope_parameters", parameters}}); };
  CHECK(rope({{"rope_type", "yarn"}, {"rope_theta", 1e4}}) ==
        "rope_parameters.rope_type: 'yarn' is not supported; try: default, linear or llama3");
  CHECK(rope({{"rope_type", "dynamic"}}) ==
        "rope_parameters.rope_type: 'dynamic' is not supported; try: default, linear or llama3");
  CHECK(rope({{"rope_type", "llama3"}, {"factor", 8}}) == "rope_parameters.low_freq_factor: is missing");
  CHECK(rope({{"rope_type", "linear"}}) == "rope_parameters.factor: is missing");
  CHECK(rope({{"rope_type", "default"}, {"mrope_section", {1}}}) ==
        "rope_parameters.mrope_section: is not known to nemo and may change the computation; try: remove it from the "
        "file if it does not");
  CHECK(refusal("llama2-mha", {{"rope_scaling", {{"type", "linear"}, {"factor", 2}}}}) ==
        "rope_scaling: stands beside rope_parameters, which says the same; try: keep one of the two");
  CHECK(refusal("llama2-mha", {{"rope_theta", 5}}) == "rope_theta: differs from the one in rope_parameters");
}

TEST_CASE("Unknown, missing and mistyped keys are refused by name", "[models][hf]") {
  CHECK(refusal("llama2-mha", {{"quantization_config", {{"bits", 4}}}}) ==
        "quantization_config: is not known to nemo and may change the computation; try: remove it from the file if it "
        "does not");
  CHECK(refusal("llama2-mha", {{"unheard_of", nullptr}}).empty());
  CHECK(refusal("llama2-mha", {{"hidden_size", "32"}}) == "hidden_size: is \"32\", not a whole number");
  CHECK(refusal("llama2-mha", {{"hidden_size", 32.5}}) == "hidden_size: is 32.5, not a whole number");
  CHECK(refusal("llama2-mha", {{"hidden_size", -32}}) == "hidden_size: is -32 but must be above zero");
  CHECK(refusal("llama2-mha", {{"rms_norm_eps", 0}}) == "rms_norm_eps: must be above zero");
  CHECK(refusal("llama2-mha", {{"tie_word_embeddings", 1}}) == "tie_word_embeddings: is 1, not true or false");
  CHECK(refusal("llama2-mha", {{"rope_parameters", 1}}) == "rope_parameters: is 1, not an object");
  CHECK(refusal("llama2-mha", {{"model_type", "mamba"}}) ==
        "model_type: 'mamba' is not supported; try: gpt2, llama, mistral, qwen2 or qwen3");
  CHECK(refusal("llama2-mha", {{"dtype", "float8"}}) ==
        "dtype: 'float8' is not supported; try: float32, bfloat16 or float16");
  CHECK(refusal("llama2-mha", {{"eos_token_id", "end"}}) ==
        "eos_token_id: is \"end\", not a whole number or a list of them");
  CHECK(without("llama2-mha", "model_type") == "model_type: is missing");
  CHECK(without("llama2-mha", "hidden_size") == "hidden_size: is missing");
  CHECK(without("llama2-mha", "rms_norm_eps") == "rms_norm_eps: is missing");
  CHECK(without("mistral-swa", "sliding_window") ==
        "sliding_window: is missing; try: add it to the file, null for none");
  CHECK(without("mistral-swa", "num_key_value_heads") == "num_key_value_heads: is missing");
  CHECK(without("qwen2", "rope_parameters") ==
        "rope_theta: is missing; try: add it to the file: the default depends on the version that wrote it");
  CHECK(without("qwen3", "head_dim") == "head_dim: is missing");
  CHECK(error_of<CheckpointError>([] {
          parse_hf_config("{", "x/config.json");
        }).starts_with("x/config.json: is not valid JSON"));
  CHECK(error_of<CheckpointError>([] { parse_hf_config("[]", "x/config.json"); }) ==
        "x/config.json: is not a JSON object");
  const TemporaryFolder folder;
  CHECK(error_of<CheckpointError>([&] { read_hf_config(folder.path()); }) ==
        folder.path() + ": has no config.json; try: a Hugging Face model folder");
}

TEST_CASE("Windows and dropped windows are understood", "[models][hf]") {
  CHECK(changed("mistral-swa", {{"sliding_window", nullptr}}).window_size == 0);
  CHECK(changed("qwen2", {{"sliding_window", 4096}}).window_size == 0);  // not in use
  const json all = {
      {"layer_types", nullptr}, {"use_sliding_window", true}, {"sliding_window", 4}, {"max_window_layers", 0}};
  CHECK(changed("qwen2", all).window_size == 4);
  const json none = {
      {"layer_types", nullptr}, {"use_sliding_window", true}, {"sliding_window", 4}, {"max_window_layers", 2}};
  CHECK(changed("qwen2", none).window_size == 0);
  const json listed = {
      {"layer_types", {"sliding_attention", "sliding_attention"}}, {"use_sliding_window", true}, {"sliding_window", 4}};
  CHECK(changed("qwen3", listed).window_size == 4);
}

TEST_CASE("A model that config.json cannot express is refused by name", "[models][hf]") {
  const auto error = [](const std::string& name, const std::function<void(DecoderConfig&)>& change) {
    HfConfig config = read_hf_config(kGolden + name);
    change(config.decoder);
    return error_of<CheckpointError>([&] { hf_config_text(config, HfStyle::v5); });
  };
  CHECK(error("gpt2", [](DecoderConfig& c) { c.window_size = 8; }) ==
        "config.json: model.window_size: has a value that GPT-2's config.json cannot express; try: another "
        "model.family than gpt, if one has it");
  CHECK(error("gpt2", [](DecoderConfig& c) { c.activation = MlpActivation::swiglu; }) ==
        "config.json: activation: GPT-2 has no gated feed-forward block; try: family llama");
  CHECK(error("llama2-mha", [](DecoderConfig& c) { c.qk_norm = true; }) ==
        "config.json: model.qk_norm: has a value that llama's config.json cannot express; try: another model.family "
        "than llama, if one has it");
}

TEST_CASE("Import then export gives identical bytes, to the whole file", "[models][hf]") {
  const std::string name =
      GENERATE("gpt2", "llama2-mha", "llama3-gqa", "mistral-swa", "qwen2", "qwen3", "generate-greedy");
  const HfConfig config = read_hf_config(kGolden + name);
  const std::vector<NamedShape> ours = parameters_of(config.decoder);
  const SafetensorsSet set(kGolden + name);
  const Buffers buffers = imported(config.decoder, ours, set, Dialect::file);
  const TemporaryFolder folder;
  exported(config.decoder, ours, buffers, folder.path(), 1 << 30, Dialect::file);
  CHECK(read_file(folder / "model.safetensors") == read_file(kGolden + name + "/model.safetensors"));

  // Sharded and without the prefix, as some files are: the same weights.
  const TemporaryFolder sharded;
  exported(config.decoder, ours, buffers, sharded.path(), 20000, Dialect::bare_file);
  CHECK(std::filesystem::exists(sharded / "model.safetensors.index.json"));
  CHECK(imported(config.decoder, ours, SafetensorsSet(sharded.path()), Dialect::bare_file) == buffers);
}

TEST_CASE("The module dialect names every golden gradient", "[models][hf]") {
  const std::string name = GENERATE("gpt2", "llama2-mha", "llama3-gqa", "mistral-swa", "qwen2", "qwen3");
  const HfConfig config = read_hf_config(kGolden + name);
  const std::vector<NamedShape> ours = parameters_of(config.decoder);
  const SafetensorsSet io(kGolden + name + "/io.safetensors");
  size_t num_gradients = 0;
  for (const std::string& tensor : io.names()) num_gradients += tensor.starts_with("grad.");
  const std::vector<TheirTensor> theirs = map_names(hf_name_table(config.decoder), ours, Dialect::module);
  CHECK(theirs.size() == num_gradients);
  for (const TheirTensor& tensor : theirs) {
    INFO(tensor.name);
    const SafetensorsEntry* entry = io.find("grad." + tensor.name);
    REQUIRE(entry);
    CHECK(entry->shape == tensor.shape);
  }
}

TEST_CASE("GPT-2's fused transposed weights come apart where the formula says", "[models][hf]") {
  const HfConfig config = read_hf_config(kGolden + "gpt2");
  const std::vector<NamedShape> ours = parameters_of(config.decoder);
  const SafetensorsSet set(kGolden + "gpt2");
  const Buffers buffers = imported(config.decoder, ours, set, Dialect::file);
  const auto* fused =
      reinterpret_cast<const uint32_t*>(set.bytes("transformer.h.1.attn.c_attn.weight").data());  // [32, 96]
  const auto* bias = reinterpret_cast<const uint32_t*>(set.bytes("transformer.h.1.attn.c_attn.bias").data());
  const char* const parts[] = {"wq", "wk", "wv"};
  for (int64_t part = 0; part < 3; ++part) {
    const std::string base = std::string("layers.1.attention.") + parts[part];
    for (size_t i = 0; i < ours.size(); ++i) {
      const auto* mine = reinterpret_cast<const uint32_t*>(buffers[i].data());
      bool equal = true;
      if (ours[i].name == base + ".weight") {
        for (int64_t out = 0; out < 32; ++out) {
          for (int64_t in = 0; in < 32; ++in) equal = equal && mine[out * 32 + in] == fused[in * 96 + part * 32 + out];
        }
      } else if (ours[i].name == base + ".bias") {
        for (int64_t out = 0; out < 32; ++out) equal = equal && mine[out] == bias[part * 32 + out];
      }
      CHECK(equal);
    }
  }
}
