#include "core/exec_context.h"

#include "core/autograd/tape.h"

namespace nemo {

uint64_t random_site(std::string_view path) {  // FNV-1a, 64 bit
  uint64_t hash = 0xCBF29CE484222325ull;
  for (const char c : path) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ull;
  return hash;
}

Tensor ExecContext::empty(const Shape& shape, DType dtype, MemoryTag tag) {
  return Tensor(arena(), shape, dtype, tag).with_id(next_id());
}

void ExecContext::record(OpRecord record) {
  if (tape_ != nullptr) tape_->record(*this, std::move(record));
}

}  // namespace nemo
