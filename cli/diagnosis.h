// What is wrong with a machine for training, how bad it is, and how to mend it. Pure: facts in, findings out.
// Not here: reading the facts (cli/host_facts.h), printing the report (cli/doctor_command.cpp).
#pragma once
#include <string>
#include <vector>

#include "cli/host_facts.h"

namespace nemo {

enum class Severity { note, warning, blocker };  // a blocker makes `nemo doctor` exit 1

struct Finding {
  Severity severity;
  std::string subject, what, fix;
};

std::vector<Finding> diagnose(const HostFacts& host, const GpuFacts& gpu);

// Whether code built for `architectures` ("80,90a", "86-real") runs on compute capability major.minor: "90a" runs
// on 9.0 alone, "86-real" on 8.6 and later 8.x, "80" carries PTX too and runs on anything from 8.0.
bool architectures_cover(const std::string& architectures, int major, int minor);

}  // namespace nemo
