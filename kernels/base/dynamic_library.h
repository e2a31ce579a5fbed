// A shared library opened at run time, closed with its owner.
// Not here: which libraries and where they may lie (kernels/base/cuda_libraries.h).
#pragma once
#include <memory>
#include <string>
#include <vector>

namespace nemo::kernels {

class DynamicLibrary {
 public:
  // Tries each soname: already loaded or on the loader's path, then beside the executable, in ../lib of it, and in each of
  // `folders`. Throws CudaError naming the first soname, the last loader message and `how_to_get`.
  DynamicLibrary(const std::vector<std::string>& sonames, const std::vector<std::string>& folders, const std::string& how_to_get);

  // The function of that name; throws CudaError when the library lacks it. Function is a pointer type.
  template <class Function>
  Function function(const char* name) const {
    return reinterpret_cast<Function>(symbol(name));
  }
  void* handle() const { return handle_.get(); }

 private:
  void* symbol(const char* name) const;
  struct Close { void operator()(void* handle) const noexcept; };
  std::unique_ptr<void, Close> handle_;
  std::string soname_;
};

}  // namespace nemo::kernels
