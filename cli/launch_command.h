// `nemo launch`: starts the ranks of one machine of several and ends or restarts them with the others. Not here: how
// the machines meet (cli/node_agent.h), ranks of a single machine (cli/start_ranks.h).
#pragma once

namespace CLI {
class App;
}

namespace nemo {

void add_launch_command(CLI::App& app);

}  // namespace nemo
