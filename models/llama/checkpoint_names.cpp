#include "models/llama/hugging_face.h"

namespace nemo {
namespace {

// One table for the four families: what a family does not have (biases, q_norm) its model does not ask for.
constexpr NameRule kRules[] = {
    {.ours = "embedding.weight", .file = "model.embed_tokens.weight"},
    {.ours = "layers.*.attention_norm.weight", .file = "model.layers.*.input_layernorm.weight"},
    {.ours = "layers.*.attention.wq.weight", .file = "model.layers.*.self_attn.q_proj.weight"},
    {.ours = "layers.*.attention.wk.weight", .file = "model.layers.*.self_attn.k_proj.weight"},
    {.ours = "layers.*.attention.wv.weight", .file = "model.layers.*.self_attn.v_proj.weight"},
    {.ours = "layers.*.attention.wo.weight", .file = "model.layers.*.self_attn.o_proj.weight"},
    {.ours = "layers.*.attention.wq.bias", .file = "model.layers.*.self_attn.q_proj.bias"},
    {.ours = "layers.*.attention.wk.bias", .file = "model.layers.*.self_attn.k_proj.bias"},
    {.ours = "layers.*.attention.wv.bias", .file = "model.layers.*.self_attn.v_proj.bias"},
    {.ours = "layers.*.attention.wo.bias", .file = "model.layers.*.self_attn.o_proj.bias"},
    {.ours = "layers.*.attention.q_norm.weight", .file = "model.layers.*.self_attn.q_norm.weight"},
    {.ours = "layers.*.attention.k_norm.weight", .file = "model.layers.*.self_attn.k_norm.weight"},
    {.ours = "layers.*.mlp_norm.weight", .file = "model.layers.*.post_attention_layernorm.weight"},
    {.ours = "layers.*.mlp.gate.weight", .file = "model.layers.*.mlp.gate_proj.weight"},
    {.ours = "layers.*.mlp.up.weight", .file = "model.layers.*.mlp.up_proj.weight"},
    {.ours = "layers.*.mlp.down.weight", .file = "model.layers.*.mlp.down_proj.weight"},
    {.ours = "layers.*.mlp.gate.bias", .file = "model.layers.*.mlp.gate_proj.bias"},
    {.ours = "layers.*.mlp.up.bias", .file = "model.layers.*.mlp.up_proj.bias"},
    {.ours = "layers.*.mlp.down.bias", .file = "model.layers.*.mlp.down_proj.bias"},
    {.ours = "final_norm.weight", .file = "model.norm.weight"},
    {.ours = "output.weight", .file = "lm_head.weight"},
};
constexpr TiedName kTied[] = {{"lm_head.weight", "model.embed_tokens.weight"}};
// The rope frequencies follow from the config; older files carry them along.
constexpr std::string_view kIgnored[] = {"*.rotary_emb.inv_freq"};

}  // namespace

const NameTable kLlamaNames{.rules = kRules, .prefix = "model.", .tied = kTied, .ignored = kIgnored};

}  // namespace nemo
