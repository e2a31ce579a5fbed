# Writes build_info.cpp for cli/build_info.h. Included by CMakeLists.txt it adds the step; run as a script (cmake -P) it is the step:
# the commit is read at every build, and the file touched only when it changes.
if(CMAKE_SCRIPT_MODE_FILE)
  set(NEMO_GIT_COMMIT unknown)
  find_program(GIT git)
  if(GIT AND EXISTS ${SOURCE_DIR}/.git)
    # safe.directory: a checkout owned by someone else (a container's bind mount) still has a commit to name
    execute_process(COMMAND ${GIT} -c safe.directory=${SOURCE_DIR} describe --always --dirty --abbrev=12 --exclude=*
                    WORKING_DIRECTORY ${SOURCE_DIR} OUTPUT_VARIABLE described OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    if(described)
      set(NEMO_GIT_COMMIT ${described})
    endif()
  endif()
  configure_file(${SOURCE_DIR}/cmake/build_info.cpp.in ${OUTPUT} @ONLY)
  return()
endif()

function(nemo_add_build_info target)
  set(output ${CMAKE_BINARY_DIR}/generated/build_info.cpp)
  set(cuda_toolkit "")
  set(cuda_architectures "")
  if(NEMO_WITH_CUDA)
    set(cuda_toolkit ${CUDAToolkit_VERSION})
    string(REPLACE ";" "," cuda_architectures "${NEMO_CUDA_ARCHITECTURES}")
  endif()
  add_custom_target(nemo_build_info BYPRODUCTS ${output}
    COMMAND ${CMAKE_COMMAND} -DSOURCE_DIR=${CMAKE_SOURCE_DIR} -DOUTPUT=${output} -DNEMO_VERSION=${PROJECT_VERSION}
            -DNEMO_BUILD_TYPE=${CMAKE_BUILD_TYPE} "-DNEMO_COMPILER=${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}"
            -DNEMO_CUDA_TOOLKIT=${cuda_toolkit} -DNEMO_CUDA_ARCHITECTURES=${cuda_architectures} -DNEMO_CPU_ARCH=${NEMO_CPU_ARCH}
            -P ${CMAKE_SOURCE_DIR}/cmake/NemoBuildInfo.cmake
    VERBATIM)
  target_sources(${target} PRIVATE ${output})
  add_dependencies(${target} nemo_build_info)
endfunction()
