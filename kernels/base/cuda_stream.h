// The stream type and the weak-symbol mark that launcher declarations need, without any CUDA header.
#pragma once

struct CUstream_st;
using cudaStream_t = CUstream_st*;  // the same type as in driver_types.h

// Every *_cuda declaration carries this mark: a build without CUDA compiles no .cu file, so the symbol stays undefined
// and is never called, because a CUDA device cannot be opened there (core/device). Needs ELF.
#define NEMO_CUDA_KERNEL __attribute__((weak))
