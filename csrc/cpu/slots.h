// Arena and Slots: how a kernel divides the scratch that the binding gave it. Kernels allocate nothing.
#pragma once
#include <sched.h>

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace nnfast {

// Takes piece after piece of the scratch, each on a cache line of its own. Without memory it only measures: the same
// code that lays the scratch out says how much is needed.
class Arena {
 public:
  explicit Arena(void* memory) : base_(static_cast<char*>(memory)) {}
  template <class T>
  T* take(int64_t count) {
    char* piece = base_ ? base_ + used_ : nullptr;
    used_ += (static_cast<size_t>(count) * sizeof(T) + 63) / 64 * 64;
    return reinterpret_cast<T*>(piece);
  }
  bool measuring() const { return base_ == nullptr; }
  size_t used() const { return used_; }

 private:
  char* base_;
  size_t used_ = 0;
};

// Pieces of scratch for the threads that work on one job: a task holds one while it runs. There are as many as threads;
// if more come (the number was raised meanwhile), a task waits for another to end.
class Slots {
 public:
  Slots(Arena& arena, int count, size_t bytes)
      : free_(count >= 64 ? ~uint64_t{0} : (uint64_t{1} << count) - 1), bytes_((bytes + 63) / 64 * 64) {
    base_ = arena.take<char>(static_cast<int64_t>(bytes_) * (count < 64 ? count : 64));
  }

  class Held {
   public:
    explicit Held(Slots& slots) : slots_(slots), index_(slots.acquire()) {}
    ~Held() { slots_.free_.fetch_or(uint64_t{1} << index_, std::memory_order_release); }
    Held(const Held&) = delete;
    Held& operator=(const Held&) = delete;
    void* memory() const { return slots_.base_ + static_cast<size_t>(index_) * slots_.bytes_; }

   private:
    Slots& slots_;
    const int index_;
  };

 private:
  int acquire() {
    for (uint64_t free = free_.load(std::memory_order_relaxed);;) {
      if (free == 0) {
        sched_yield();
        free = free_.load(std::memory_order_relaxed);
      } else if (free_.compare_exchange_weak(free, free & (free - 1), std::memory_order_acquire)) {
        return std::countr_zero(free);
      }
    }
  }

  std::atomic<uint64_t> free_;
  const size_t bytes_;
  char* base_;
};

}  // namespace nnfast
