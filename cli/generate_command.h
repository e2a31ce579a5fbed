// `nemo generate`: text from a Hugging Face folder or a checkpoint. Not here: generation (recipes/generate.h).
#pragma once

namespace CLI {
class App;
}

namespace nemo {

void add_generate_command(CLI::App& app);

}  // namespace nemo
