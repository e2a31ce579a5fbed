#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/cli/nemo_process.h"
#include "tests/temporary_folder.h"

using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;
using nemo::testing::run_nemo;
using Json = nlohmann::json;

namespace {

// A model small enough to step in milliseconds.
const std::vector<std::string> kTiny{"model.num_layers=2", "model.hidden_size=64", "model.num_attention_heads=2",
                                     "model.ffn_hidden_size=128", "model.vocab_size=500"};

std::vector<std::string> with_tiny(std::vector<std::string> arguments) {
  arguments.insert(arguments.end(), kTiny.begin(), kTiny.end());
  return arguments;
}

}  // namespace

TEST_CASE("bench train reports a step's speed, memory and loss as JSON", "[cli][bench]") {
  const auto result = run_nemo(
      with_tiny({"bench", "train", "gpt2_124m", "--device", "cpu", "--precision", "fp32", "--micro-batch-size", "2",
                 "--global-batch-size", "4", "--seq-length", "32", "--steps", "5", "--warmup", "2", "--json", "-"}));
  CHECK(result.err == "");
  REQUIRE(result.exit_code == 0);
  const Json json = Json::parse(result.out);  // nothing but the object
  for (const char* key : {"recipe",
                          "preset",
                          "precision",
                          "master_dtype",
                          "moment_dtype",
                          "gradient_dtype",
                          "micro_batch_size",
                          "seq_length",
                          "global_batch_size",
                          "tokens_per_s",
                          "ms_per_step",
                          "tflops_causal",
                          "tflops_megatron",
                          "mfu_datasheet",
                          "share_of_measured_gemm_peak",
                          "measured_gemm_tflops",
                          "peak_memory_bytes",
                          "estimated_memory_bytes",
                          "first_step_s",
                          "device",
                          "device_name",
                          "driver",
                          "versions",
                          "commit",
                          "loss_first",
                          "loss_last",
                          "deterministic"}) {
    CAPTURE(key);
    CHECK(json.contains(key));
  }
  CHECK(json["preset"] == "gpt2_124m");
  CHECK(json["precision"] == "fp32");
  CHECK(json["gradient_dtype"] == "fp32");
  CHECK(json["tokens_per_step"] == 4 * 32);
  const double median = json["ms_per_step"]["median"];
  CHECK(json["ms_per_step"]["min"].get<double>() > 0);
  CHECK(json["ms_per_step"]["min"].get<double>() <= median);
  CHECK(median <= json["ms_per_step"]["max"].get<double>());
  CHECK(json["tokens_per_s"].get<double>() == Approx(4 * 32 / (median * 1e-3)));
  CHECK(json["tflops_causal"].get<double>() > 0);
  CHECK(json["tflops_causal"].get<double>() < json["tflops_megatron"].get<double>());
  CHECK(json["share_of_measured_gemm_peak"].get<double>() ==
        Approx(json["tflops_causal"].get<double>() / json["measured_gemm_tflops"].get<double>()));
  CHECK(json["mfu_datasheet"].is_null());
  // The dry run walks the same step: to the byte where no validation and no library is involved.
  CHECK(json["peak_memory_bytes"] == json["estimated_memory_bytes"]);
  CHECK(json["first_step_s"].get<double>() > 0);
  CHECK(json["first_step_s"].get<double>() < 60);
  CHECK(json["loss_first"].get<double>() == Approx(std::log(500)).margin(0.3));
  CHECK(std::isfinite(json["loss_last"].get<double>()));
  CHECK(json["device"] == "cpu");
}

TEST_CASE("bench train prints a table, and writes the JSON beside it", "[cli][bench]") {
  const nemo::test::TemporaryFolder folder;
  const std::string file = folder / "row.json";
  const auto result =
      run_nemo(with_tiny({"bench", "train", "gpt2_124m", "--device", "cpu", "--precision", "fp32", "--micro-batch-size",
                          "1", "--seq-length", "32", "--steps", "2", "--warmup", "1", "--json", file}));
  REQUIRE(result.exit_code == 0);
  CHECK_THAT(result.out, Contains("tokens/s") && Contains("first step") && Contains("of the measured GEMM peak"));
  std::ifstream in(file);
  CHECK(Json::parse(in)["global_batch_size"] == 1);  // one micro-batch, whatever the recipe's global batch
}

TEST_CASE("bench train refuses what it cannot measure", "[cli][bench]") {
  const auto unknown = run_nemo({"bench", "train", "gpt2_142m"});
  CHECK(unknown.exit_code == 2);
  CHECK(unknown.err == "nemo: gpt2_142m: no recipe has this name; try: gpt2_124m\n");
  const auto batch = run_nemo(
      {"bench", "train", "gpt2_124m", "--device", "cpu", "--micro-batch-size", "2", "--global-batch-size", "3"});
  CHECK(batch.exit_code == 2);
  CHECK_THAT(batch.err,
             Contains("data.global_batch_size: 3 is not a multiple of micro_batch_size x data-parallel size (2 x 1)"));
  const auto longer = run_nemo({"bench", "train", "gpt2_124m", "--device", "cpu", "--seq-length", "100000",
                                "model.max_position_embeddings=1024"});
  CHECK(longer.exit_code == 2);
  CHECK_THAT(longer.err, Contains("seq_length"));
  const auto precision = run_nemo({"bench", "train", "gpt2_124m", "--precision", "fp31"});
  CHECK(precision.exit_code == 2);
  CHECK_THAT(precision.err, Contains("trainer.precision"));
  const auto vocabulary = run_nemo({"bench", "train", "char_gpt_cpu", "tokenizer.type=none"});
  CHECK(vocabulary.exit_code == 2);
  CHECK_THAT(vocabulary.err, Contains("model.vocab_size"));
  const auto profile = run_nemo({"bench", "train", "gpt2_124m", "--device", "cpu", "--profile"});
  CHECK(profile.exit_code == 1);
  CHECK(profile.err == "nemo: cpu: --profile: only GPUs are traced; try: --device cuda, or perf for the CPU\n");
  CHECK(run_nemo({"bench", "train", "gpt2_124m", "--steps", "0"}).exit_code == 2);
  const auto none = run_nemo({"bench"});
  CHECK(none.exit_code == 2);
  CHECK_THAT(none.err, Contains("subcommand"));
}

TEST_CASE("bench says why there is no GPU to measure", "[cli][bench]") {
  // No device is visible, whatever the machine has.
  const auto result = run_nemo({"bench", "train", "gpt2_124m", "--device", "cuda"}, {"CUDA_VISIBLE_DEVICES="});
  CHECK(result.exit_code == 1);
  CHECK_THAT(result.err, StartsWith("nemo: --device: cuda: "));
}

TEST_CASE("bench gemm times given sizes and the products of a step", "[cli][bench]") {
  const auto given = run_nemo({"bench", "gemm", "--device", "cpu", "--sizes", "64,48,32", "33,65,17", "--json", "-"});
  CHECK(given.err == "");
  REQUIRE(given.exit_code == 0);
  const Json sizes = Json::parse(given.out)["products"];
  REQUIRE(sizes.size() == 2);
  CHECK(sizes[1]["k"] == 17);
  CHECK(sizes[1]["tflops"].get<double>() == Approx(2e-9 * 33 * 65 * 17 / sizes[1]["ms"]["median"].get<double>()));

  const nemo::test::TemporaryFolder folder;
  const std::string recipe = folder / "tiny.yaml";
  std::ofstream(recipe) << "model: {family: llama, num_layers: 3, hidden_size: 64, ffn_hidden_size: 96, "
                           "num_attention_heads: 4, num_query_groups: 2, vocab_size: 500, seq_length: 32}\n";
  const auto step = run_nemo({"bench", "gemm", "--device", "cpu", "--preset", recipe, "--tokens", "64", "--json", "-"});
  REQUIRE(step.exit_code == 0);
  const Json json = Json::parse(step.out);
  double flops = 0;
  for (const Json& product : json["products"])
    flops += 2.0 * product["m"].get<double>() * product["n"].get<double>() * product["k"].get<double>() *
             product["per_step"].get<double>();
  // Three products per weight: hidden x (q, k, v) + q x hidden + the gated block's three, per layer, and the padded
  // head.
  CHECK(flops == 6.0 * 64 * (3 * (64 * (64 + 2 * 32) + 64 * 64 + 3 * 64 * 96) + 64 * 512));
  CHECK(json["step"]["ms"].get<double>() > 0);
}

TEST_CASE("bench gemm refuses sizes that are none", "[cli][bench]") {
  for (const char* sizes : {"8", "8,8", "8,8,8,8", "8,8,0", "8,8,x", "-1,8,8"}) {
    CAPTURE(sizes);
    const auto result = run_nemo({"bench", "gemm", "--device", "cpu", std::string("--sizes=") + sizes});
    CHECK(result.exit_code == 2);
    CHECK_THAT(result.err, Contains("m,n,k"));
  }
  CHECK_THAT(run_nemo({"bench", "gemm", "--device", "cpu"}).err,
             Contains("nothing to multiply; try: either --sizes m,n,k or --preset NAME"));
}

TEST_CASE("bench kernels checks and times each kernel", "[cli][bench]") {
  for (const char* precision : {"fp32", "bf16"}) {
    const auto result = run_nemo({"bench", "kernels", "--device", "cpu", "--precision", precision, "--filter", "norm",
                                  "--preset", "gpt2_124m", "--tokens", "32", "--json", "-"});
    CHECK(result.err == "");
    REQUIRE(result.exit_code == 0);
    const Json json = Json::parse(result.out);
    CHECK(json["kernels"].size() >= 6);
    for (const Json& kernel : json["kernels"]) {
      CAPTURE(kernel["name"]);
      CHECK(kernel["ms"]["median"].get<double>() > 0);
      CHECK(kernel["check_error"] == 0);  // on a CPU it is compared with itself
    }
  }
  const auto nothing = run_nemo({"bench", "kernels", "--device", "cpu", "--filter", "nonesuch"});
  CHECK(nothing.exit_code == 2);
  CHECK(nothing.err ==
        "nemo: nemo bench kernels: --filter nonesuch: no kernel has this in its name; try: leave it out to see all "
        "names\n");
}
