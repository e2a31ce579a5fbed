#include "kernels/base/cuda_libraries.h"

#include <cublas_api.h>
#include <cuda_runtime.h>

#include <sstream>

namespace nemo::kernels {
namespace {

// Where the toolkit of the build machine keeps its libraries: found at configure time, used when the loader's own path and
// the folders beside the executable have none.
std::vector<std::string> toolkit_folders() {
  std::vector<std::string> folders;
  std::istringstream list(NEMO_CUDA_LIBRARY_FOLDERS);
  for (std::string folder; std::getline(list, folder, ':');) {
    if (!folder.empty()) folders.push_back(folder);
  }
  return folders;
}

}  // namespace

// The major version is the one of the headers compiled against: a function table of another major is another ABI.
DynamicLibrary open_cublaslt() {
  return {{"libcublasLt.so." + std::to_string(CUBLAS_VER_MAJOR)},
          toolkit_folders(),
          "install the CUDA toolkit's cuBLAS, or put its folder on LD_LIBRARY_PATH"};
}

DynamicLibrary open_cudnn() {
  return {{"libcudnn.so.9"}, toolkit_folders(), "install cuDNN 9, or put its folder on LD_LIBRARY_PATH"};
}

DynamicLibrary open_cudart() {
  return {{"libcudart.so." + std::to_string(CUDART_VERSION / 1000)},
          toolkit_folders(),
          "install the CUDA runtime, or put its folder on LD_LIBRARY_PATH"};
}

DynamicLibrary open_nccl() {
  return {{"libnccl.so.2"}, toolkit_folders(), "install NCCL 2, or put its folder on LD_LIBRARY_PATH"};
}

// CUPTI keeps its own folder in some toolkits: extras/CUPTI/lib64 beside lib64.
DynamicLibrary open_cupti() {
  std::vector<std::string> folders = toolkit_folders();
  for (const std::string& folder : toolkit_folders()) folders.push_back(folder + "/../extras/CUPTI/lib64");
  return {{"libcupti.so." + std::to_string(CUDART_VERSION / 1000)}, folders, "install CUPTI, or put its folder on LD_LIBRARY_PATH"};
}

}  // namespace nemo::kernels
