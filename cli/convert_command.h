// `nemo convert`: Hugging Face folders to checkpoints and back, and the proof that a conversion is right.
// Not here: the conversions (recipes/convert.h, recipes/verify.h).
#pragma once

namespace CLI {
class App;
}

namespace nemo {

void add_convert_command(CLI::App& app);

}  // namespace nemo
