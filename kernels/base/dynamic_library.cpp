#include "kernels/base/dynamic_library.h"

#include <dlfcn.h>

#include <filesystem>

#include "kernels/base/error.h"

namespace nemo::kernels {
namespace {

std::string loader_message() {
  const char* message = dlerror();
  return message ? message : "no reason given";
}

}  // namespace

DynamicLibrary::DynamicLibrary(const std::vector<std::string>& sonames, const std::vector<std::string>& folders,
                               const std::string& how_to_get) {
  std::vector<std::string> prefixes{""};
  std::error_code unreadable;
  const std::filesystem::path executable = std::filesystem::read_symlink("/proc/self/exe", unreadable);
  if (!unreadable) {
    const std::filesystem::path folder = executable.parent_path();
    prefixes.push_back(folder.string() + "/");
    prefixes.push_back(folder.string() + "/../lib/");
  }
  for (const std::string& folder : folders) prefixes.push_back(folder + "/");

  std::string reason;
  for (const std::string& soname : sonames) {
    for (const std::string& prefix : prefixes) {
      const std::string path = prefix + soname;
      // A file that is there and does not load says more than "no such file" from the folders after it.
      std::error_code missing;
      if (!prefix.empty() && !std::filesystem::exists(path, missing)) continue;
      // Never unloaded: NVIDIA's libraries leave thread-local destructors behind that would run in unmapped code.
      handle_.reset(dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE));
      if (handle_) {
        soname_ = soname;
        return;
      }
      const std::string message = loader_message();
      if (reason.empty() || !prefix.empty()) reason = message;
    }
  }
  throw CudaError(sonames.front(), "cannot be opened (" + reason + "); " + how_to_get);
}

void* DynamicLibrary::symbol(const char* name) const {
  void* address = dlsym(handle_.get(), name);
  if (!address) throw CudaError(soname_, std::string("has no function ") + name);
  return address;
}

void DynamicLibrary::Close::operator()(void* handle) const noexcept { dlclose(handle); }

}  // namespace nemo::kernels
