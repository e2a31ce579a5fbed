#include "core/device/device.h"

#include <utility>

#include "core/error.h"
#include "kernels/base/cuda_device.h"

namespace nemo {

std::string to_string(Device device) {
  switch (device.type) {
    case DeviceType::cpu: return "cpu";
    case DeviceType::cuda: return "cuda:" + std::to_string(device.index);
    case DeviceType::meta: return "meta";
  }
  return "?";
}

std::string cuda_unavailable_reason() {
  if (kernels::cuda_unavailable_reason == nullptr) return "this nemo was built without CUDA";
  return kernels::cuda_unavailable_reason();
}

Device parse_device(const std::string& text) {
  if (text == "cpu") return {};
  if (text == "meta") return {.type = DeviceType::meta};
  if (text == "auto") return cuda_unavailable_reason().empty() ? Device{.type = DeviceType::cuda} : Device{};
  if (text != "cuda" && (!text.starts_with("cuda:") || text.find_first_not_of("0123456789", 5) != std::string::npos || text.size() == 5 ||
                         text.size() > 8)) {
    throw DeviceError{"--device", text, "no such device", "cpu, cuda, cuda:<index> or auto"};
  }
  if (const std::string reason = cuda_unavailable_reason(); !reason.empty())
    throw DeviceError{"--device", text, reason, "--device cpu, or `nemo doctor` to see what is missing"};
  const int index = text == "cuda" ? 0 : std::stoi(text.substr(5)), count = kernels::cuda_device_count();
  if (index >= count)
    throw DeviceError{"--device", text, "this machine has " + std::to_string(count) + " GPU(s)", "cuda:0 to cuda:" + std::to_string(count - 1)};
  return {.type = DeviceType::cuda, .index = index};
}

Stream::Stream(Device device) : device_(device) {
  if (device.is_cuda()) handle_ = kernels::cuda_stream_create();
}
Stream::~Stream() {
  if (handle_ != nullptr) kernels::cuda_stream_destroy(handle_);
}
Stream::Stream(Stream&& other) noexcept : device_(other.device_), handle_(std::exchange(other.handle_, nullptr)) {}
void Stream::synchronize() {
  if (handle_ != nullptr) kernels::cuda_stream_synchronize(handle_);
}

Event::Event(Stream& stream) {
  if (stream.handle() == nullptr) return;
  handle_ = kernels::cuda_event_create();
  kernels::cuda_event_record(handle_, stream.handle());
}
Event::~Event() {
  if (handle_ != nullptr) kernels::cuda_event_destroy(handle_);
}
Event::Event(Event&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)), made_(other.made_) {}
Event& Event::operator=(Event&& other) noexcept {
  std::swap(handle_, other.handle_);
  made_ = other.made_;
  return *this;
}
bool Event::done() const { return handle_ == nullptr || kernels::cuda_event_done(handle_); }
void Event::synchronize() const {
  if (handle_ != nullptr) kernels::cuda_event_synchronize(handle_);
}

double Event::milliseconds_between(const Event& start, const Event& end) {
  if (start.handle_ != nullptr) return kernels::cuda_event_elapsed_ms(start.handle_, end.handle_);
  return std::chrono::duration<double, std::milli>(end.made_ - start.made_).count();
}

}  // namespace nemo
