// Flushes subnormal numbers to zero, in results and operands, on this thread while it lives. Each ISA by its own
// switch: MXCSR on x86 (FTZ and DAZ), FPCR on aarch64 (FZ), nothing elsewhere. A worker thread has a switch of its own:
// kernels use parallel_for_flushed, which sets it in every chunk.
#pragma once
#include <cstdint>

namespace nnfast {

class FlushSubnormals {
 public:
  FlushSubnormals() : before_(read()) {
    if ((before_ & BITS) != BITS) write(before_ | BITS);
  }
  ~FlushSubnormals() {
    if ((before_ & BITS) != BITS) write(before_);
  }
  FlushSubnormals(const FlushSubnormals&) = delete;
  FlushSubnormals& operator=(const FlushSubnormals&) = delete;

 private:
  // The memory clobbers keep the loads and stores of the kernel, and so its arithmetic, between the switches.
#if defined(__x86_64__)
  using Word = unsigned;
  static constexpr Word BITS = 1u << 15 | 1u << 6;
  static Word read() { return __builtin_ia32_stmxcsr(); }
  static void write(Word w) {
    asm volatile("" ::: "memory");
    __builtin_ia32_ldmxcsr(w);
    asm volatile("" ::: "memory");
  }
#elif defined(__aarch64__)
  using Word = uint64_t;
  static constexpr Word BITS = Word{1} << 24;
  static Word read() {
    Word w;
    asm volatile("mrs %0, fpcr" : "=r"(w));
    return w;
  }
  static void write(Word w) { asm volatile("msr fpcr, %0" ::"r"(w) : "memory"); }
#else
  using Word = unsigned;
  static constexpr Word BITS = 0;
  static Word read() { return 0; }
  static void write(Word) {}
#endif
  const Word before_;
};

}  // namespace nnfast
