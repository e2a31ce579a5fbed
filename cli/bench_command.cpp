#include "cli/bench_command.h"

#include <CLI/CLI.hpp>

namespace nemo {

void add_bench_command(CLI::App& app) {
  CLI::App* bench = app.add_subcommand("bench", "Measure speed and memory: training steps, matrix products, kernels");
  bench->require_subcommand(1);
  bench->footer(
      "Examples:\n  nemo bench train llama3_2_1b --micro-batch-size 1 --seq-length 8192\n"
      "  nemo bench gemm --preset llama3_2_1b --tokens 8192\n"
      "  nemo bench kernels --filter norm");
  add_bench_train_command(*bench);
  add_bench_gemm_command(*bench);
  add_bench_kernels_command(*bench);
}

}  // namespace nemo
