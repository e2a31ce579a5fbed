// `nemo pretrain`: trains the model of a recipe. Not here: the run itself (recipes/pretrain.h).
#pragma once

namespace CLI {
class App;
}

namespace nemo {

void add_pretrain_command(CLI::App& app);

}  // namespace nemo
