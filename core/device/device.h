// Which device a value lives on, and the stream work is queued on.
// Not here: memory (core/device/arena.h), the libraries of a device (core/device/runtime.h).
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

#include "kernels/base/cuda_stream.h"

struct CUevent_st;
using cudaEvent_t = CUevent_st*;

namespace nemo {

// meta: shapes alone. Every op runs there through the same tape and arena, and touches no data.
enum class DeviceType : uint8_t { cpu, cuda, meta };

struct Device {
  DeviceType type = DeviceType::cpu;
  int index = 0;
  DeviceType stands_for = DeviceType::cpu;  // meta: the kind whose memory use is predicted
  bool is_cpu() const { return type == DeviceType::cpu; }
  bool is_cuda() const { return type == DeviceType::cuda; }
  bool is_meta() const { return type == DeviceType::meta; }
  // The kind that decides workspaces and chunk sizes: the device's own, or what meta stands for.
  DeviceType plans_for() const { return is_meta() ? stands_for : type; }
  bool operator==(const Device&) const = default;
};

std::string to_string(Device device);  // "cpu", "cuda:0", "meta"

// Why `--device cuda` cannot work here, empty when it can. Never throws.
std::string cuda_unavailable_reason();

// "cpu", "cuda", "cuda:1", "meta", "auto" (a GPU where there is one). Throws DeviceError with the reason and what to try.
Device parse_device(const std::string& text);

// An ordered queue of device work. On the CPU and on meta it is always empty. Move-only.
class Stream {
 public:
  explicit Stream(Device device);
  ~Stream();
  Stream(Stream&& other) noexcept;
  Stream& operator=(Stream&&) = delete;

  cudaStream_t handle() const { return handle_; }
  void synchronize();

 private:
  Device device_;
  cudaStream_t handle_ = nullptr;
};

// A point in a stream. Move-only.
class Event {
 public:
  explicit Event(Stream& stream);  // records at once
  ~Event();
  Event(Event&& other) noexcept;
  Event& operator=(Event&& other) noexcept;

  bool done() const;
  void synchronize() const;
  // Time on the device between two reached events of one stream; on the CPU, between their making.
  static double milliseconds_between(const Event& start, const Event& end);

 private:
  cudaEvent_t handle_ = nullptr;
  std::chrono::steady_clock::time_point made_ = std::chrono::steady_clock::now();
};

}  // namespace nemo
