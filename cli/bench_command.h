// `nemo bench train|gemm|kernels`: how fast this machine is at what nemo does. Not here: the measuring (recipes/bench).
#pragma once

namespace CLI {
class App;
}

namespace nemo {

void add_bench_command(CLI::App& app);

// The three below it, each in a file of its own.
void add_bench_train_command(CLI::App& bench);
void add_bench_gemm_command(CLI::App& bench);
void add_bench_kernels_command(CLI::App& bench);

}  // namespace nemo
