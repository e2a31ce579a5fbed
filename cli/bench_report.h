// What the three bench commands share in what they say: the machine, and where the JSON goes.
// Not here: the figures themselves (cli/bench_*_command.cpp).
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "core/device/device.h"
#include "recipes/bench/timing.h"

namespace CLI {
class App;
}

namespace nemo {

struct BenchReport {
  std::string json;  // a file, "-" for standard output in place of the table, or empty
  bool prints_table() const { return json != "-"; }
  // UsageError where the file cannot be written.
  void write(const nlohmann::ordered_json& object) const;
};
void add_bench_report(CLI::App& command, BenchReport& report);

// {"device", "device_name", "driver", "threads", "versions", "commit"}
nlohmann::ordered_json bench_machine(Device device);
std::string device_name(Device device);

nlohmann::ordered_json spread_json(const Spread& spread);  // {"median", "min", "max"}

}  // namespace nemo
