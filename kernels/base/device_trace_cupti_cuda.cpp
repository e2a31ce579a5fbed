#include <cupti.h>

#include <cstdlib>
#include <memory>
#include <mutex>

#include "kernels/base/cuda_libraries.h"
#include "kernels/base/device_trace.h"
#include "kernels/base/error.h"

namespace nemo::kernels {
namespace {

constexpr size_t kBufferBytes = size_t{8} << 20, kBufferAlignment = 8;
constexpr CUpti_ActivityKind kKinds[] = {CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL, CUPTI_ACTIVITY_KIND_MEMCPY,
                                         CUPTI_ACTIVITY_KIND_MEMSET};

// The functions of CUPTI that are called, looked up at first use.
struct Cupti {
  DynamicLibrary library = open_cupti();
  decltype(&cuptiActivityRegisterCallbacks) register_callbacks =
      library.function<decltype(register_callbacks)>("cuptiActivityRegisterCallbacks");
  decltype(&cuptiActivityEnable) enable = library.function<decltype(enable)>("cuptiActivityEnable");
  decltype(&cuptiActivityDisable) disable = library.function<decltype(disable)>("cuptiActivityDisable");
  decltype(&cuptiActivityFlushAll) flush_all = library.function<decltype(flush_all)>("cuptiActivityFlushAll");
  decltype(&cuptiActivityGetNextRecord) next_record =
      library.function<decltype(next_record)>("cuptiActivityGetNextRecord");
  decltype(&cuptiGetResultString) result_string = library.function<decltype(result_string)>("cuptiGetResultString");

  void check(CUptiResult result, const char* call) const {
    if (result == CUPTI_SUCCESS) return;
    const char* text = nullptr;
    result_string(result, &text);
    throw CudaError(call, text != nullptr ? text : "unknown error");
  }
};

struct Tracer {
  Cupti cupti;
  std::mutex mutex;  // records arrive on CUPTI's own thread
  std::vector<DeviceActivity> activities;
};

// The one tracer of the process: CUPTI traces a whole process, and its callbacks take no pointer of ours. Made at the
// first begin and never destroyed, since CUPTI may call back until the process ends.
Tracer& tracer() {
  static Tracer& only = *new Tracer;
  return only;
}

template <class Record>
DeviceActivity activity_of(const CUpti_Activity* record, const char* name) {
  const auto* const typed = reinterpret_cast<const Record*>(record);
  return {name, typed->start, typed->end};
}

void CUPTIAPI give_buffer(uint8_t** buffer, size_t* size, size_t* max_records) {
  *buffer = static_cast<uint8_t*>(std::aligned_alloc(kBufferAlignment, kBufferBytes));
  *size = *buffer == nullptr ? 0 : kBufferBytes;
  *max_records = 0;
}

void CUPTIAPI take_buffer(CUcontext, uint32_t, uint8_t* buffer, size_t, size_t valid_bytes) {
  const std::unique_ptr<uint8_t, void (*)(void*)> owner(buffer, &std::free);
  Tracer& to = tracer();
  const std::lock_guard lock(to.mutex);
  for (CUpti_Activity* record = nullptr; to.cupti.next_record(buffer, valid_bytes, &record) == CUPTI_SUCCESS;) {
    switch (record->kind) {
      case CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL: {
        const char* const name = reinterpret_cast<const CUpti_ActivityKernel9*>(record)->name;
        to.activities.push_back(activity_of<CUpti_ActivityKernel9>(record, name != nullptr ? name : "?"));
        break;
      }
      case CUPTI_ACTIVITY_KIND_MEMCPY:
        to.activities.push_back(activity_of<CUpti_ActivityMemcpy5>(record, "[copy]"));
        break;
      case CUPTI_ACTIVITY_KIND_MEMSET:
        to.activities.push_back(activity_of<CUpti_ActivityMemset4>(record, "[fill]"));
        break;
      default:
        break;
    }
  }
}

}  // namespace

void device_trace_begin() {
  Tracer& on = tracer();
  on.activities.clear();
  on.cupti.check(on.cupti.register_callbacks(give_buffer, take_buffer), "cuptiActivityRegisterCallbacks");
  for (const CUpti_ActivityKind kind : kKinds) on.cupti.check(on.cupti.enable(kind), "cuptiActivityEnable");
}

std::vector<DeviceActivity> device_trace_end() {
  Tracer& on = tracer();
  for (const CUpti_ActivityKind kind : kKinds) on.cupti.check(on.cupti.disable(kind), "cuptiActivityDisable");
  on.cupti.check(on.cupti.flush_all(CUPTI_ACTIVITY_FLAG_FLUSH_FORCED), "cuptiActivityFlushAll");
  const std::lock_guard lock(on.mutex);
  return std::move(on.activities);
}

}  // namespace nemo::kernels
