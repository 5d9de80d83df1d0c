// SPDX-License-Identifier: Apache-2.0
// The two programs are linked with this file itself, not with a library of it: it replaces operator delete.
#include "common/program/private_memory.hpp"

#include <cstddef>
#include <cstdlib>
#include <cstring>  // explicit_bzero
#include <new>

#include <malloc.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define CULVERT_SANITIZED
#endif
#endif

namespace culvert {

void keep_memory_private() {
#ifndef CULVERT_SANITIZED
  const rlimit none{0, 0};
  (void)::setrlimit(RLIMIT_CORE, &none);
  (void)::prctl(PR_SET_DUMPABLE, 0);
#endif
}

}  // namespace culvert

#ifndef CULVERT_SANITIZED

// Heads of HTTP, with their tokens and cookies, pass through many strings. All memory is wiped when it is freed, so
// that none is left out. The data path frees nothing per frame.

void* operator new(std::size_t bytes) {
  void* memory = std::malloc(bytes == 0 ? 1 : bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

void operator delete(void* memory, std::size_t bytes) noexcept {
  if (memory == nullptr) return;
  ::explicit_bzero(memory, bytes);
  std::free(memory);
}

void operator delete(void* memory) noexcept {
  if (memory != nullptr) operator delete(memory, ::malloc_usable_size(memory));
}

#endif
