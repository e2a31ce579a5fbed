// `nemo doctor`: what this machine has for training, what is wrong with it and how to mend it.
// Not here: what this binary was built from (cli/version_command.h).
#pragma once

namespace CLI {
class App;
}

namespace nemo {

void add_doctor_command(CLI::App& app);

}  // namespace nemo
