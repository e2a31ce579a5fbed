# Decides whether this build has a CUDA side, finds the toolkit, and links it: cudart statically; cuBLASLt, cuDNN and NCCL
# are opened at run time (kernels/base/cuda_libraries.h), so a CUDA build starts on machines that have none of them.
set(NEMO_WITH_CUDA OFF)
if(NOT NEMO_CUDA STREQUAL "OFF")
  include(CheckLanguage)
  if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX} AND EXISTS /usr/local/cuda/bin/nvcc)
    set(CMAKE_CUDA_COMPILER /usr/local/cuda/bin/nvcc)  # the installer's default place is often not on PATH
  endif()
  set(CMAKE_CUDA_ARCHITECTURES ${NEMO_CUDA_ARCHITECTURES})
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    enable_language(CUDA)
    # Told outright: CMake 3.25 does not know that this nvcc speaks C++20, and the dialect follows CMAKE_CXX_STANDARD.
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
    set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
    find_package(CUDAToolkit REQUIRED)
    set(NEMO_WITH_CUDA ON)
  elseif(NEMO_CUDA STREQUAL "ON")
    message(FATAL_ERROR "NEMO_CUDA=ON but no nvcc was found; install the CUDA toolkit or set CUDACXX=/path/to/nvcc")
  else()
    message(STATUS "CUDA toolkit not found: CPU build")
  endif()
endif()

if(NEMO_WITH_CUDA)
  # cudnn.h and the libraries opened at run time lie with the toolkit, or, where it came as pip wheels, each in a folder
  # beside it (nvidia/cu13, nvidia/cudnn, nvidia/nccl).
  set(cuda_root ${CUDAToolkit_LIBRARY_ROOT})
  if(NOT cuda_root)
    get_filename_component(cuda_root ${CUDAToolkit_BIN_DIR} DIRECTORY)
  endif()
  get_filename_component(cuda_siblings ${cuda_root} DIRECTORY)
  file(GLOB cuda_wheel_includes ${cuda_siblings}/cu*/include ${cuda_siblings}/cudnn/include ${cuda_siblings}/cublas/include)
  file(GLOB cuda_library_folders ${cuda_root}/lib64 ${cuda_root}/lib ${cuda_siblings}/cu*/lib ${cuda_siblings}/cudnn/lib
       ${cuda_siblings}/cublas/lib ${cuda_siblings}/nccl/lib)
  find_path(CUDNN_INCLUDE_DIR cudnn.h HINTS ${CUDAToolkit_INCLUDE_DIRS} ${cuda_wheel_includes})
  find_path(CUDNN_FRONTEND_INCLUDE_DIR cudnn_frontend.h HINTS ${CMAKE_SOURCE_DIR}/.venv/include /usr/local/include)
  foreach(header CUDNN_INCLUDE_DIR CUDNN_FRONTEND_INCLUDE_DIR)
    if(NOT ${header})
      message(FATAL_ERROR "The CUDA build needs cudnn.h (cuDNN 9) and cudnn_frontend.h (the PyPI package "
                          "nvidia-cudnn-frontend); give the folder with -D${header}=..., or build with -DNEMO_CUDA=OFF")
    endif()
  endforeach()
  string(REPLACE ";" ":" NEMO_CUDA_LIBRARY_FOLDERS "${cuda_library_folders}")
endif()

function(nemo_link_cuda target)
  target_link_libraries(${target} PUBLIC CUDA::cudart_static)
  target_include_directories(${target} SYSTEM PRIVATE ${CUDNN_FRONTEND_INCLUDE_DIR} ${CUDNN_INCLUDE_DIR} ${CUDAToolkit_INCLUDE_DIRS})
  target_compile_options(${target} PRIVATE "$<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr;-lineinfo>")
  set_source_files_properties(kernels/base/cuda_libraries_cuda.cpp PROPERTIES
                              COMPILE_DEFINITIONS "NEMO_CUDA_LIBRARY_FOLDERS=\"${NEMO_CUDA_LIBRARY_FOLDERS}\"")
endfunction()
