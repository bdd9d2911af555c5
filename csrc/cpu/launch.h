// launch(kernel): runs a kernel now and, while this thread captures, also appends it to the plan.
// Rules: a kernel is a closure of views and numbers, plain bytes, so a plan is one run of bytes to walk and nothing
// that owns memory can be recorded by mistake; kernels allocate nothing and touch no Python.
#pragma once
#include <cstddef>
#include <cstring>
#include <stdexcept>
#include <type_traits>
#include <vector>

#include "memory.h"

namespace nnfast {

struct Status;

// The kernels of one step, in order, and the pool of the memory that they share.
class Plan {
 public:
  Plan() : pool_(make_pool()) {}
  ~Plan() { retire(pool_); }
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  template <class F>
  void record(const F& kernel, const char* op) {
    static_assert(std::is_trivially_copyable_v<F>, "a kernel may hold only views and numbers");
    static_assert(alignof(F) <= ALIGN, "closures lie at multiples of 16 bytes");
    const size_t at = bytes_.size(), size = (sizeof(Head) + sizeof(F) + ALIGN - 1) / ALIGN * ALIGN;
    const Head head{[](const void* k) { (*static_cast<const F*>(k))(); }, size, op};
    bytes_.resize(at + size);
    std::memcpy(&bytes_[at], &head, sizeof head);
    std::memcpy(&bytes_[at + sizeof head], &kernel, sizeof kernel);
    ++launches_;
  }

  // One replay at a time: a plan has one set of buffers.
  void replay() const {
    each([](const char*, const auto& run) { run(); });
  }
  // visit(op, run) for each kernel in order; run() runs it.
  template <class Visit>
  void each(const Visit& visit) const;

  Status* status = nullptr;  // where kernels of the step report that no caller waits for

  Pool* pool() const { return pool_; }
  size_t bytes() const { return bytes_.size(); }
  int launches() const { return launches_; }

 private:
  static constexpr size_t ALIGN = 16;
  struct alignas(ALIGN) Head {  // the closure follows, then the next Head
    void (*run)(const void* kernel);
    size_t size;
    const char* op;
  };
  Pool* const pool_;
  std::vector<std::byte> bytes_;
  int launches_ = 0;
};

inline constinit thread_local Plan* capturing = nullptr;

// The op of what raises versions of Variables: the one that is recorded and is no kernel, but works on the CPU's
// memory.
inline constexpr char RAISES_VERSIONS[] = "version";

template <class Visit>
void Plan::each(const Visit& visit) const {
  if (capturing) throw std::logic_error("[replay] a replay inside a capture would not be recorded");
  for (const std::byte *p = bytes_.data(), *end = p + bytes_.size(); p != end;) {
    const Head* head = reinterpret_cast<const Head*>(p);
    visit(head->op, [head] { head->run(head + 1); });
    p += head->size;
  }
}

// While it lives, this thread records into the plan and allocates from its pool.
class Capture {
 public:
  explicit Capture(Plan& plan) {
    if (capturing) throw std::logic_error("[capture] a capture is already open in this thread");
    capturing = &plan;
    thread_pool() = plan.pool();
  }
  ~Capture() {
    capturing = nullptr;
    thread_pool() = nullptr;
  }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;
};

// op: a name that lives as long as the program
template <class F>
void launch(const F& kernel, const char* op) {
  static_assert(std::is_trivially_copyable_v<F>, "a kernel may hold only views and numbers");
  if (capturing) capturing->record(kernel, op);
  kernel();
}

}  // namespace nnfast
