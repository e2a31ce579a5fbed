#include "models/gpt/hugging_face.h"

namespace nemo {
namespace {

// GPT-2's matrices are Conv1D weights, [in, out]; c_attn is q|k|v along the output.
constexpr NameRule kRules[] = {
    {.ours = "embedding.weight", .file = "transformer.wte.weight"},
    {.ours = "position_embedding.weight", .file = "transformer.wpe.weight"},
    {.ours = "layers.*.attention_norm.weight", .file = "transformer.h.*.ln_1.weight"},
    {.ours = "layers.*.attention_norm.bias", .file = "transformer.h.*.ln_1.bias"},
    {.ours = "layers.*.attention.wq.weight", .file = "transformer.h.*.attn.c_attn.weight", .transpose = true},
    {.ours = "layers.*.attention.wk.weight", .file = "transformer.h.*.attn.c_attn.weight", .transpose = true},
    {.ours = "layers.*.attention.wv.weight", .file = "transformer.h.*.attn.c_attn.weight", .transpose = true},
    {.ours = "layers.*.attention.wq.bias", .file = "transformer.h.*.attn.c_attn.bias"},
    {.ours = "layers.*.attention.wk.bias", .file = "transformer.h.*.attn.c_attn.bias"},
    {.ours = "layers.*.attention.wv.bias", .file = "transformer.h.*.attn.c_attn.bias"},
    {.ours = "layers.*.attention.wo.weight", .file = "transformer.h.*.attn.c_proj.weight", .transpose = true},
    {.ours = "layers.*.attention.wo.bias", .file = "transformer.h.*.attn.c_proj.bias"},
    {.ours = "layers.*.mlp_norm.weight", .file = "transformer.h.*.ln_2.weight"},
    {.ours = "layers.*.mlp_norm.bias", .file = "transformer.h.*.ln_2.bias"},
    {.ours = "layers.*.mlp.up.weight", .file = "transformer.h.*.mlp.c_fc.weight", .transpose = true},
    {.ours = "layers.*.mlp.up.bias", .file = "transformer.h.*.mlp.c_fc.bias"},
    {.ours = "layers.*.mlp.down.weight", .file = "transformer.h.*.mlp.c_proj.weight", .transpose = true},
    {.ours = "layers.*.mlp.down.bias", .file = "transformer.h.*.mlp.c_proj.bias"},
    {.ours = "final_norm.weight", .file = "transformer.ln_f.weight"},
    {.ours = "final_norm.bias", .file = "transformer.ln_f.bias"},
    {.ours = "output.weight", .file = "lm_head.weight"},
};
constexpr TiedName kTied[] = {{"lm_head.weight", "transformer.wte.weight"}};
// Causal masks that older files carry along.
constexpr std::string_view kIgnored[] = {"*h.*.attn.bias", "*h.*.attn.masked_bias"};

}  // namespace

const NameTable kGpt2Names{.rules = kRules, .prefix = "transformer.", .tied = kTied, .ignored = kIgnored};

}  // namespace nemo
