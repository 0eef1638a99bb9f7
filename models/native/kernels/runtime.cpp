// What the C++ library would bring, for a build that links none (ziglang would compile all of it first, for a minute).
#if defined(SPIKESIGHT_NO_RUNTIME)
#include <cstdlib>
#include <new>

void* operator new(size_t size) {
    void* memory = malloc(size ? size : 1);
    if (!memory) abort();
    return memory;
}
void* operator new[](size_t size) { return operator new(size); }
void operator delete(void* memory) noexcept { free(memory); }
void operator delete[](void* memory) noexcept { free(memory); }
void operator delete(void* memory, size_t) noexcept { free(memory); }
void operator delete[](void* memory, size_t) noexcept { free(memory); }

namespace std {
inline namespace __1 {
[[noreturn]] void __libcpp_verbose_abort(const char*, ...) noexcept { abort(); }
}
}
#endif
