#include "recipes/bench/step_profile.h"

#include <cxxabi.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>

#include "core/error.h"
#include "kernels/base/error.h"

namespace nemo {
namespace {

constexpr const char* kWithoutProfile = "leave --profile out, or use a build on a toolkit with CUPTI";

// "_ZN4nemo7kernels3addIfEEvPT_S3_" -> "nemo::kernels::add<float>": no return type, no parameters.
std::string readable_name(const std::string& mangled) {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> text(abi::__cxa_demangle(mangled.c_str(), nullptr, nullptr, &status),
                                                    &std::free);
  if (status != 0 || text == nullptr) return mangled;
  std::string name = text.get();
  // The parameters start at the last opening bracket that is outside of template arguments.
  int depth = 0;
  for (size_t i = name.size(); i-- > 0;) {
    if (name[i] == ')' || name[i] == '>') ++depth;
    if (name[i] == '(' || name[i] == '<') --depth;
    if (name[i] == '(' && depth == 0) {
      name.resize(i);
      break;
    }
  }
  depth = 0;
  for (size_t i = 0; i < name.size(); ++i) {  // a template's name comes after its return type
    if (name[i] == '<' || name[i] == '(') ++depth;
    if (name[i] == '>' || name[i] == ')') --depth;
    if (name[i] == ' ' && depth == 0) return name.substr(i + 1);
  }
  return name;
}

// What the kernels say becomes core's error.
template <class Call>
auto traced(Device device, const Call& call) {
  try {
    return call();
  } catch (const kernels::CudaError& error) {
    throw DeviceError{to_string(device), "--profile", error.what(), kWithoutProfile};
  }
}

}  // namespace

void require_step_profile(Device device) {
  if (!device.is_cuda())
    throw DeviceError{to_string(device), "--profile", "only GPUs are traced", "--device cuda, or perf for the CPU"};
  if (kernels::device_trace_begin == nullptr)
    throw DeviceError{to_string(device), "--profile", "this nemo was built on a toolkit without CUPTI's header",
                      kWithoutProfile};
}

StepProfile profile_steps(Runtime& runtime, int64_t num_steps, const std::function<void()>& run) {
  require_step_profile(runtime.device());
  runtime.stream().synchronize();
  traced(runtime.device(), [] { kernels::device_trace_begin(); });
  run();
  runtime.stream().synchronize();
  return summarise(traced(runtime.device(), [] { return kernels::device_trace_end(); }), num_steps);
}

StepProfile summarise(std::vector<kernels::DeviceActivity> activities, int64_t num_steps) {
  StepProfile profile{.num_steps = num_steps};
  if (activities.empty()) return profile;
  std::sort(activities.begin(), activities.end(), [](const auto& a, const auto& b) { return a.start_ns < b.start_ns; });
  const double per_step_ms = 1e-6 / static_cast<double>(num_steps);
  std::map<std::string, StepProfile::Row> by_name;
  uint64_t busy_until = activities.front().start_ns, idle_ns = 0;
  double all_ms = 0;
  for (const kernels::DeviceActivity& activity : activities) {
    if (activity.start_ns > busy_until) idle_ns += activity.start_ns - busy_until;
    busy_until = std::max(busy_until, activity.end_ns);
    StepProfile::Row& row = by_name[activity.name];
    const double ms = static_cast<double>(activity.end_ns - activity.start_ns) * per_step_ms;
    row.ms_per_step += ms;
    row.calls_per_step += 1.0 / static_cast<double>(num_steps);
    all_ms += ms;
  }
  profile.ms_per_step = static_cast<double>(busy_until - activities.front().start_ns) * per_step_ms;
  profile.idle_ms_per_step = static_cast<double>(idle_ns) * per_step_ms;
  for (auto& [name, row] : by_name) {
    row.name = readable_name(name);
    row.share = row.ms_per_step / all_ms;
    profile.rows.push_back(std::move(row));
  }
  std::sort(profile.rows.begin(), profile.rows.end(),
            [](const auto& a, const auto& b) { return a.ms_per_step > b.ms_per_step; });
  return profile;
}

}  // namespace nemo
