// What kernel tests share: arrays on the CPU or the GPU, launching on either, inputs, and the comparison with fp64.
// Not here: anything about one kernel.
#pragma once
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <type_traits>
#include <vector>

#include "kernels/base/cuda_device.h"
#include "kernels/base/dtype.h"

namespace nemo::testing {

// Where a test body runs. The CUDA one owns a stream, and fails the test where there is no GPU.
class TestDevice {
 public:
  static TestDevice cpu() { return TestDevice(false); }
  static TestDevice cuda() {
    const bool built_with_cuda = kernels::cuda_unavailable_reason != nullptr;  // outside REQUIRE: it binds a reference
    REQUIRE(built_with_cuda);
    REQUIRE(kernels::cuda_unavailable_reason() == "");
    return TestDevice(true);
  }
  bool is_cuda() const { return stream_ != nullptr; }
  cudaStream_t stream() const { return stream_.get(); }

 private:
  explicit TestDevice(bool cuda) : stream_(cuda ? kernels::cuda_stream_create() : nullptr, Destroy{}) {}
  struct Destroy {
    void operator()(cudaStream_t stream) const noexcept {
      if (stream != nullptr) kernels::cuda_stream_destroy(stream);
    }
  };
  std::shared_ptr<CUstream_st> stream_;
};

// kernel_cpu(args...) or kernel_cuda(args..., stream).
#define NEMO_LAUNCH(device, kernel, ...) \
  ((device).is_cuda() ? kernel##_cuda(__VA_ARGS__, (device).stream()) : kernel##_cpu(__VA_ARGS__))

// Two test cases from one body(const TestDevice&): on the CPU, and on the GPU. The second is hidden and has no other tag,
// so that it runs when "[cuda]" (or its name) is asked for and never otherwise.
#define NEMO_KERNEL_TEST(name, tags, body)                                                  \
  TEST_CASE(name, "[kernels]" tags) { body(::nemo::testing::TestDevice::cpu()); }           \
  TEST_CASE(name " on CUDA", "[.][cuda]") { body(::nemo::testing::TestDevice::cuda()); }

// `size` elements on the device, then a guard that no kernel may touch. Starts as NaN (all bits set), so that whatever a
// kernel forgets to write, or reads before writing, shows.
template <class T>
class Array {
 public:
  Array(const TestDevice& device, size_t size) : Array(device, poisoned(size)) {}
  Array(const TestDevice& device, std::vector<T> values) : device_(device), size_(values.size()), host_(std::move(values)) {
    host_.resize(size_ + kGuard);
    std::memset(static_cast<void*>(host_.data() + size_), 0xff, kGuard * sizeof(T));
    if (!device_.is_cuda()) return;
    remote_ = std::shared_ptr<void>(kernels::cuda_allocate(host_.size() * sizeof(T)), [](void* p) { kernels::cuda_free(p); });
    REQUIRE(remote_ != nullptr);
    kernels::cuda_copy(remote_.get(), host_.data(), host_.size() * sizeof(T), kernels::CopyKind::host_to_device, device_.stream());
    kernels::cuda_stream_synchronize(device_.stream());
  }

  T* data() { return device_.is_cuda() ? static_cast<T*>(remote_.get()) : host_.data(); }
  size_t size() const { return size_; }

  // What is there now, read back from the device; fails if the guard was written to.
  std::vector<T> values() {
    if (device_.is_cuda()) {
      kernels::cuda_copy(host_.data(), remote_.get(), host_.size() * sizeof(T), kernels::CopyKind::device_to_host, device_.stream());
      kernels::cuda_stream_synchronize(device_.stream());
    }
    const auto* guard = reinterpret_cast<const unsigned char*>(host_.data() + size_);
    CHECK(std::all_of(guard, guard + kGuard * sizeof(T), [](unsigned char byte) { return byte == 0xff; }));
    return {host_.begin(), host_.begin() + static_cast<std::ptrdiff_t>(size_)};
  }

 private:
  static constexpr size_t kGuard = 64;
  static std::vector<T> poisoned(size_t size) {
    std::vector<T> values(size);
    std::memset(static_cast<void*>(values.data()), 0xff, size * sizeof(T));
    return values;
  }
  TestDevice device_;
  size_t size_;
  std::vector<T> host_;  // the array itself on the CPU, a staging copy for the GPU
  std::shared_ptr<void> remote_;
};

// Normal random numbers, rounded to T as a kernel would see them.
template <class T>
std::vector<T> random_values(size_t count, unsigned seed, double scale = 1.0, double mean = 0.0) {
  std::mt19937_64 engine(seed);
  std::normal_distribution<double> normal(mean, scale);
  std::vector<T> values(count);
  for (T& value : values) value = static_cast<T>(static_cast<float>(normal(engine)));
  return values;
}

template <class T>
std::vector<double> to_doubles(const std::vector<T>& values) {
  std::vector<double> wide;
  wide.reserve(values.size());
  for (const T& value : values) wide.push_back(static_cast<double>(static_cast<float>(value)));
  return wide;
}

// The one table of tolerances: ||ours - reference|| / ||reference||, by the dtype in which the result is stored or its
// inputs were rounded on the way.
template <class T> inline constexpr double kTolerance = 2e-6;
template <> inline constexpr double kTolerance<bf16> = 4e-3;

// Also bounds the worst single element by 10 tolerances of the largest reference element. NaN fails both.
template <class Stored, class T>
void check_close(const std::vector<T>& ours, const std::vector<double>& reference) {
  REQUIRE(ours.size() == reference.size());
  double error = 0, norm = 0, worst = 0, largest = 0;
  bool finite = true;
  for (size_t i = 0; i < ours.size(); ++i) {
    const double difference = static_cast<double>(static_cast<float>(ours[i])) - reference[i];
    finite = finite && std::isfinite(difference);
    error += difference * difference;
    norm += reference[i] * reference[i];
    worst = std::max(worst, std::fabs(difference));
    largest = std::max(largest, std::fabs(reference[i]));
  }
  CHECK(finite);
  CHECK(std::sqrt(error) <= kTolerance<Stored> * std::sqrt(norm));
  CHECK(worst <= 10 * kTolerance<Stored> * largest);
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

}  // namespace nemo::testing
