#include "recipes/consistency.h"

#include <catch2/catch.hpp>

#include "core/error.h"
#include "recipes/schema.h"

using namespace nemo;

namespace {

Recipe parse(const std::string& yaml) {
  return parse_recipe(yaml, "r.yaml", {}, RecipeFolders({}));
}

}  // namespace

TEST_CASE("sections that contradict each other", "[recipes]") {
  CHECK_THROWS_WITH(parse("data:\n  mock: true\n  text: a.txt\n"),
                    "r.yaml:2: data.mock: contradicts data.text (r.yaml:3); try: give one of them");
  CHECK_THROWS_WITH(parse("data:\n  mock: true\n  blend: [a]\n"),
                    "r.yaml:2: data.mock: contradicts data.blend (r.yaml:3); try: give one of them");
  CHECK_THROWS_WITH(parse("data:\n  blend: [a]\n  text: a.txt\n"),
                    "r.yaml:3: data.text: contradicts data.blend (r.yaml:2); try: give one of them");
  CHECK_THROWS_WITH(parse("data: {text: a.txt}\n"),
                    "r.yaml: tokenizer.type: data.text is text, and none makes no tokens of it; try: "
                    "tokenizer.type=byte, or huggingface with tokenizer.model");
  CHECK_THROWS_WITH(parse("tokenizer:\n  type: huggingface\n"),
                    "r.yaml: tokenizer.model: this type of tokenizer is a file, and none is given; try: "
                    "tokenizer.model=FOLDER with a tokenizer.json");
  CHECK_THROWS_WITH(
      parse("data:\n  split: a,b\n"),
      "r.yaml:2: data.split: \"a,b\" is not up to three shares, of which one is over 0; try: \"9999,8,2\"");
  CHECK_THROWS_WITH(parse("data: {blend: ['-1', a]}\n"), "r.yaml:1: data.blend: weight -1 of a is not positive");
  CHECK_THROWS_WITH(parse("optim: {lr: 1e-4, sched: {min_lr: 1e-3}}\n"),
                    "r.yaml:1: optim.sched.min_lr: is above optim.lr (r.yaml:1); try: a tenth of optim.lr");
  CHECK_THROWS_WITH(parse("trainer: {precision: bf16-mixed}\noptim: {master_dtype: bf16}\n"),
                    "r.yaml:2: optim.master_dtype: bf16-mixed is bf16 arithmetic beside fp32 master weights; try: "
                    "trainer.precision=bf16, which keeps none");
}

TEST_CASE("states of a precision that has none say so", "[recipes]") {
  CHECK(parse("trainer: {precision: bf16}\noptim: {master_dtype: bf16}\n").notices ==
        std::vector<std::string>{"r.yaml:2: optim.master_dtype has no effect: in bf16 there is no master copy"});
  CHECK(parse("trainer: {precision: fp32}\noptim: {grad_reduce_in_fp32: false}\n").notices ==
        std::vector<std::string>{"r.yaml:2: optim.grad_reduce_in_fp32 has no effect: in fp32 gradients are fp32"});
}

TEST_CASE("a run needs data, and the recipe that needs text says so", "[recipes]") {
  CHECK_THROWS_WITH(require_data(parse("")),
                    "r.yaml: data: nothing to train on; try: data.blend=[PREFIX] (made by nemo data tokenize), "
                    "data.text=FILE or data.mock=true");
  CHECK_THROWS_WITH(require_data(parse("tokenizer: {type: char}")),
                    "r.yaml: data: nothing to train on; try: pass data.text=FILE");
  CHECK_NOTHROW(require_data(parse("data: {mock: true}")));
  CHECK_NOTHROW(require_data(parse("data: {blend: [a]}")));
  CHECK_NOTHROW(require_data(parse("data: {text: a}\ntokenizer: {type: byte}")));
}

TEST_CASE("a written setting without effect is told, a default is not", "[recipes]") {
  CHECK(parse("").notices.empty());
  CHECK(parse("model:\n  rotary_base: 5\n").notices ==
        std::vector<std::string>{"r.yaml:2: model.rotary_base has no effect: positions are learned"});
  CHECK(
      parse("model: {preset: qwen2_5_0_5b, add_bias_linear: true}").notices.empty());  // the preset's own add_qkv_bias
  CHECK(
      parse("trainer: {limit_val_batches: 3}").notices ==
      std::vector<std::string>{
          "r.yaml:1: trainer.limit_val_batches has no effect: there is no validation; set trainer.val_check_interval"});
  CHECK(parse("trainer: {limit_val_batches: 3, val_check_interval: 5}").notices.empty());
  CHECK(parse("data: {mock_pattern: copy}").notices.size() == 1);
  CHECK(parse("data: {mock: true, mock_pattern: copy}").notices.empty());
  CHECK(parse("checkpoint: {save: none, save_interval: 5, keep_last: 1}").notices.size() == 2);
  CHECK(parse("optim: {sched: {name: Constant, min_lr: 1e-5}}").notices.size() == 1);
  CHECK(parse("parallelism: {sequence_parallel: true, cp_comm_type: a2a}").notices.size() == 2);
}
