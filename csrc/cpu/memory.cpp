// The allocator of memory.h: one mutex (19 ns for allocate and release together, measured; a kernel costs
// microseconds), intrusive lists of resting blocks, so that releasing needs no memory and cannot fail. NNFAST_CACHE=0,
// and AddressSanitizer builds unless NNFAST_CACHE=1, give each array its own exact block.
#include "memory.h"

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <mutex>
#include <new>

#include "limits.h"

#if defined(__SANITIZE_ADDRESS__)
#define NNFAST_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define NNFAST_ASAN 1
#endif
#endif
#ifndef NNFAST_ASAN
#define NNFAST_ASAN 0
#endif

namespace nnfast {

struct Pool {
  Block* rest[256] = {};  // by size class, last released first: it is the warmest
  size_t live = 0, used = 0, resting = 0, peak = 0;
  bool retired = false;
};

namespace {

constexpr size_t MAX_BYTES = size_t{1} << 62;  // no array is larger, and sums of sizes below cannot overflow
constexpr size_t HUGE_PAGE = size_t{2} << 20;
constexpr size_t MAP_FROM =
    HUGE_PAGE / 2;  // fresh pages are 3.3 to 6 times faster as huge pages from here on (measured)

// A quarter of the memory that this process may use leaves room for the live arrays and for other programs; 8 GiB is
// more than a training step of a net that fits a CPU releases.
size_t default_cap() { return std::min(allowed_memory() / 4, size_t{8} << 30); }

bool cache_wanted() {
  const char* text = std::getenv("NNFAST_CACHE");
  return text && *text ? *text != '0' : !NNFAST_ASAN;
}

struct State {
  std::mutex lock;
  Pool general;
  size_t cap = default_cap();
  const bool caching = cache_wanted();
};
State& state() {
  static State* s = new State;
  return *s;
}

// Four classes to each power of two, so at most a quarter is wasted: 64, 80, 96, 112, 128, 160, 192, ...
int32_t size_class(size_t bytes) {
  if (bytes <= 64) return 0;
  const int top = static_cast<int>(std::bit_width(bytes - 1)) - 1;
  return (top - 6) * 4 + static_cast<int32_t>((bytes - 1) >> (top - 2) & 3) + 1;
}
size_t class_bytes(int32_t c) {
  return c == 0 ? 64 : (size_t{16} << ((c - 1) / 4)) * static_cast<size_t>((c - 1) % 4 + 5);
}

size_t page_size() {
  static const size_t size = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return size;
}

// A mapping is one page with the header at its end, then the data from a huge-page boundary on. A tail of at least half
// a huge page gets a whole one, a shorter tail small pages: a 2 MB array costs one huge page, not two.
size_t mapped_bytes(size_t bytes) {
  const size_t unit = (bytes - 1) % HUGE_PAGE + 1 >= MAP_FROM ? HUGE_PAGE : page_size();
  return (bytes + unit - 1) / unit * unit;
}

Block* map_block(size_t bytes) {
  const size_t data_bytes = mapped_bytes(bytes), head = page_size(), total = head + data_bytes + HUGE_PAGE;
  void* mapping = mmap(nullptr, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) return nullptr;
  char* begin = static_cast<char*>(mapping);
  char* data = begin + head;
  data += (HUGE_PAGE - reinterpret_cast<uintptr_t>(data) % HUGE_PAGE) % HUGE_PAGE;
  if (char* keep = data - head; keep != begin) munmap(begin, static_cast<size_t>(keep - begin));
  if (char* end = data + data_bytes; end != begin + total) munmap(end, static_cast<size_t>(begin + total - end));
#ifdef MADV_HUGEPAGE
  madvise(data, data_bytes, MADV_HUGEPAGE);
#endif
  return block_of(data);
}

Block* from_system(size_t bytes, int32_t c, bool exact) {
  const bool mapped = !exact && bytes >= MAP_FROM;
  Block* b = nullptr;
  if (mapped) {
    b = map_block(bytes);
  } else if (void* p; posix_memalign(&p, alignof(Block), sizeof(Block) + bytes) == 0) {
    b = static_cast<Block*>(p);
  }
  return b ? new (b) Block{nullptr, nullptr, bytes, 0, c, exact, mapped} : nullptr;
}

void to_system(Block* b) noexcept {
  if (b->mapped) {
    munmap(reinterpret_cast<char*>(b + 1) - page_size(), page_size() + mapped_bytes(b->bytes));
  } else {
    std::free(b);
  }
}
void chain_to_system(Block* b) noexcept {
  while (b) {
    Block* next = b->next;
    to_system(b);
    b = next;
  }
}

// The functions below run under the lock.

Block* take(Pool& pool, int32_t c) {
  Block* b = pool.rest[c];
  if (b) {
    pool.rest[c] = b->next;
    pool.resting -= b->bytes;
  }
  return b;
}

void rest(Pool& pool, Block* b) {
  b->home = &pool;
  b->next = pool.rest[b->size_class];
  pool.rest[b->size_class] = b;
  pool.resting += b->bytes;
}

bool fits(const State& s, const Block* b) { return b->bytes <= s.cap && s.general.resting <= s.cap - b->bytes; }

// Takes blocks out, the largest first, until at most `limit` bytes rest. The chain is freed outside the lock.
Block* trim(Pool& pool, size_t limit) {
  Block* chain = nullptr;
  for (int32_t c = 255; c >= 0 && pool.resting > limit;) {
    if (Block* b = take(pool, c)) {
      b->next = chain;
      chain = b;
    } else {
      --c;
    }
  }
  return chain;
}

void* hand_out(Pool& pool, Block* b) {
  b->home = &pool;
  b->version = 0;
  ++pool.live;
  pool.used += b->bytes;
  pool.peak = std::max(pool.peak, pool.used);
  return b + 1;
}

void* allocate_in(Pool& pool, size_t bytes) {
  if (bytes > MAX_BYTES) throw std::bad_alloc();
  State& s = state();
  const int32_t c = size_class(bytes);
  const size_t size = s.caching ? class_bytes(c) : bytes;
  Block* excess = nullptr;
  if (s.caching) {
    std::lock_guard hold(s.lock);
    Block* b = take(pool, c);
    if (!b && &pool != &s.general) b = take(s.general, c);
    if (b) return hand_out(pool, b);
    // Nothing of this size rests. Make room for the block's return, or a cache full of sizes that nobody asks for any
    // more would keep every new size out.
    if (size <= s.cap) excess = trim(s.general, s.cap - size);
  }
  chain_to_system(excess);
  Block* b = from_system(size, c, !s.caching);
  if (!b && empty_cache() > 0) b = from_system(size, c, !s.caching);
  if (!b) throw std::bad_alloc();
  std::lock_guard hold(s.lock);
  return hand_out(pool, b);
}

// Around fork the lock is held, so that the child finds the lists whole and the mutex free.
[[maybe_unused]] const int at_fork =
    pthread_atfork([] { state().lock.lock(); }, [] { state().lock.unlock(); }, [] { state().lock.unlock(); });

}  // namespace

Pool*& thread_pool() {
  constinit thread_local Pool* pool = nullptr;
  return pool;
}

void* allocate(size_t bytes) {
  Pool* pool = thread_pool();
  return allocate_in(pool ? *pool : state().general, bytes);
}
void* allocate_for_life(size_t bytes) { return allocate_in(state().general, bytes); }

void release(void* data) noexcept {
  if (!data) return;
  State& s = state();
  Block* b = block_of(data);
  Pool* dead = nullptr;
  {
    std::lock_guard hold(s.lock);
    Pool* pool = b->home;
    --pool->live;
    pool->used -= b->bytes;
    if (pool->retired) {
      if (pool->live == 0) dead = pool;
      pool = &s.general;
    }
    // A plan keeps every block, even an exact one, which it never hands out again: a replay will write there.
    if (pool != &s.general || (!b->exact && fits(s, b))) {
      rest(*pool, b);
      b = nullptr;
    }
  }
  if (b) to_system(b);
  delete dead;
}

Pool* make_pool() { return new Pool; }

void retire(Pool* pool) noexcept {
  State& s = state();
  Block* excess = nullptr;
  bool dead;
  {
    std::lock_guard hold(s.lock);
    for (Block*& list : pool->rest) {
      while (Block* b = list) {
        list = b->next;
        if (!b->exact && fits(s, b)) {
          rest(s.general, b);
        } else {
          b->next = excess;
          excess = b;
        }
      }
    }
    pool->resting = 0;
    pool->retired = true;
    dead = pool->live == 0;
  }
  if (thread_pool() == pool) thread_pool() = nullptr;
  chain_to_system(excess);
  if (dead) delete pool;
}

MemoryStats memory_stats(const Pool* pool) {
  State& s = state();
  std::lock_guard hold(s.lock);
  const Pool& p = pool ? *pool : s.general;
  return {p.live, p.used, p.resting, p.peak};
}

size_t empty_cache() noexcept {
  State& s = state();
  size_t bytes;
  Block* all;
  {
    std::lock_guard hold(s.lock);
    bytes = s.general.resting;
    all = trim(s.general, 0);
  }
  chain_to_system(all);
  return bytes;
}

void set_cache_cap(size_t bytes) noexcept {
  State& s = state();
  Block* excess;
  {
    std::lock_guard hold(s.lock);
    s.cap = bytes;
    excess = trim(s.general, bytes);
  }
  chain_to_system(excess);
}

}  // namespace nnfast
