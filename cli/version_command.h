// `nemo version`: what this binary was built from and with.
// Not here: the machine it runs on (cli/doctor_command.h).
#pragma once

namespace CLI {
class App;
}

namespace nemo {

void add_version_command(CLI::App& app);

}  // namespace nemo
