// The scheduler: block after block, and in a block thread after thread. A thread runs until it has to wait; only then
// another stack is taken for the next one. So a kernel without barriers is a plain loop.
#include "emulator.h"

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

#include "../device_error.h"
#include "cuda.h"
#include "fibre.h"

NNFAST_SWITCH_STACK

#ifdef __SANITIZE_ADDRESS__  // it must know which stack it is on
extern "C" void __sanitizer_start_switch_fiber(void**, const void*, size_t);
extern "C" void __sanitizer_finish_switch_fiber(void*, const void**, size_t*);
extern "C" void __asan_unpoison_memory_region(const volatile void*, size_t);
#endif

namespace emulator {
constinit Thread* self = nullptr;
constinit Launch* config = nullptr;
Hooks hooks;

namespace {
constexpr size_t STACK_BYTES = 128 * 1024, GUARD_BYTES = 4096;
constexpr size_t MOST_SHARED = 227 * 1024;  // what a block may have on any GPU yet: compute capability 9.0 and later
enum : unsigned char { FRESH, RUNNING, AT_BARRIER, IN_COLLECTIVE, SUSPENDED, DONE };

struct Fibre {
  void* sp = nullptr;
  char* base = nullptr;
  size_t size = 0;

  Fibre() = default;
  Fibre(const Fibre&) = delete;
  Fibre& operator=(const Fibre&) = delete;
  ~Fibre() {
    if (sp && size == STACK_BYTES) munmap(base - GUARD_BYTES, size + GUARD_BYTES);
  }
};

struct Warp {
  unsigned waiting = 0;  // lanes in a warp operation
  unsigned left = 0;     // lanes that have left the kernel
  unsigned mask = 0;     // of all that wait, if uniform
  bool uniform = true;
};

struct Block {
  std::vector<Thread> threads;
  std::vector<Warp> warps;
  std::vector<Thread*> ready;  // a queue: pushed at the back, taken at head
  size_t head = 0;
  int next = 0, waiting = 0, finished = 0;
  std::vector<std::unique_ptr<Fibre>> all;
  std::vector<Fibre*> idle;
  Fibre main;
  Fibre* fibre = nullptr;  // the one that runs
  void (*body)(void*) = nullptr;
  void* context = nullptr;
  std::exception_ptr error;
  std::vector<char> shared;
  char* shared_base = nullptr;

  int size() const { return static_cast<int>(threads.size()); }
};
// Plain pointers and one grid at a time: thread-local ones would be slower, and __shared__ memory is one, too.
constinit Block* block = nullptr;

std::mutex& one_grid_at_a_time() {
  static auto* mutex = [] {  // never destroyed; whole in a forked child
    static std::mutex* m = new std::mutex;
    pthread_atfork([] { m->lock(); }, [] { m->unlock(); }, [] { m->unlock(); });
    return m;
  }();
  return *mutex;
}

std::string at(const Where& w) { return std::string(w.file) + ":" + std::to_string(w.line); }
std::string number(int n) { return std::to_string(n); }
std::string triple(dim3 d) {
  return "(" + std::to_string(d.x) + ", " + std::to_string(d.y) + ", " + std::to_string(d.z) + ")";
}
bool same_line(const Where& a, const Where& b) {
  return a.line == b.line && (a.file == b.file || std::strcmp(a.file, b.file) == 0);
}
bool same_place(const Where& a, const Where& b) { return a.column == b.column && same_line(a, b); }

void switch_to(Fibre* to) {
  Fibre* from = block->fibre;
  block->fibre = to;
#ifdef __SANITIZE_ADDRESS__
  void* fake;
  __sanitizer_start_switch_fiber(&fake, to->base, to->size);
#endif
  nnfast_switch_stack(&from->sp, to->sp);
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
}

void fibre_main();

Fibre* take_fibre() {
  if (block->idle.empty()) {
    auto f = std::make_unique<Fibre>();
    void* memory = mmap(nullptr, STACK_BYTES + GUARD_BYTES, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
      if (block->fibre == &block->main) throw std::bad_alloc();
      abandon("[launch] there is not enough memory for the stacks of a block");
    }
    mprotect(memory, GUARD_BYTES, PROT_NONE);
    f->base = static_cast<char*>(memory) + GUARD_BYTES;
    f->size = STACK_BYTES;
    // Stack tops at equal places in their pages would fight for the same cache sets: 40 ns a switch instead of 8.
    f->sp = first_frame(f->base + f->size - block->all.size() * 192 % 8192, fibre_main);
    block->idle.push_back(f.get());
    block->all.push_back(std::move(f));
  }
  Fibre* f = block->idle.back();
  block->idle.pop_back();
  return f;
}

Fibre* pick() {  // who runs next: a released thread, a fresh one, or nobody
  if (block->error) return &block->main;
  if (block->head < block->ready.size()) {
    Thread* t = block->ready[block->head++];
    if (block->head == block->ready.size()) {
      block->ready.clear();
      block->head = 0;
    }
    t->state = RUNNING;
    return static_cast<Fibre*>(t->fibre);
  }
  return block->next < block->size() ? take_fibre() : &block->main;
}

void wait() {  // leave the thread that runs; come back when it is released
  Thread* me = self;
  me->fibre = block->fibre;
  switch_to(pick());
  self = me;
}

Where check_same_barrier() {
  const Thread* first = nullptr;
  for (const Thread& t : block->threads) {
    if (t.state != AT_BARRIER) continue;
    if (!first) first = &t;
    if (same_place(t.where, first->where)) continue;
    const auto column = [&](const Where& w) {
      return same_line(t.where, first->where) ? ", column " + number(w.column) : std::string();
    };
    abandon("[divergent barrier] thread " + number(first->id) + " waits in __syncthreads at " + at(first->where) +
            column(first->where) + ", thread " + number(t.id) + " in another one at " + at(t.where) + column(t.where) +
            ". Every thread of a block must come to the same one");
  }
  return first->where;
}

void release_barrier(Where where) {
  for (Thread& t : block->threads)
    if (t.state == AT_BARRIER) block->ready.push_back(&t);
  block->waiting = 0;
  if (hooks.on_barrier) hooks.on_barrier(where, block->finished);
}

void leave_kernel(Thread* t) {
  Warp& warp = block->warps[static_cast<size_t>(t->warp)];
  for (unsigned w = warp.waiting; w; w &= w - 1) {
    const Thread& other = block->threads[static_cast<size_t>(t->warp * 32 + std::countr_zero(w))];
    if (other.mask >> t->lane & 1)
      abandon("[warp mask] thread " + number(t->id) + " leaves the kernel, but thread " + number(other.id) +
              " waits for it at " + at(other.where));
  }
  t->state = DONE;
  ++block->finished;
  warp.left |= 1u << t->lane;
  if (block->waiting && block->waiting + block->finished == block->size()) {  // those who left hold up no barrier
    release_barrier(check_same_barrier());
  }
}

// A fibre runs fresh threads, one after the other, while none that waited is ready to go on.
void fibre_main() {
#ifdef __SANITIZE_ADDRESS__
  const void* base;
  size_t size;
  __sanitizer_finish_switch_fiber(nullptr, &base, &size);
  if (!block->main.base) {
    block->main.base = static_cast<char*>(const_cast<void*>(base));
    block->main.size = size;
  }
#endif
  for (;;) {
    while (block->next < block->size() && !block->error) {
      Thread* t = self = &block->threads[static_cast<size_t>(block->next++)];
      t->state = RUNNING;
      block->body(block->context);
      leave_kernel(t);
      if (block->head < block->ready.size()) break;
    }
    block->idle.push_back(block->fibre);
    Fibre* next = pick();
    if (next == block->fibre)
      block->idle.pop_back();
    else
      switch_to(next);
  }
}

std::string deadlock() {
  std::string s = "[deadlock] no thread of the block can go on:";
  std::vector<const Thread*> shown;
  for (const Thread& t : block->threads) {
    if (t.state != AT_BARRIER && t.state != IN_COLLECTIVE && t.state != SUSPENDED) continue;
    const auto alike = [&t](const Thread& o) { return o.state == t.state && same_place(o.where, t.where); };
    if (std::any_of(shown.begin(), shown.end(), [&](const Thread* o) { return alike(*o); }) || shown.size() == 4)
      continue;
    shown.push_back(&t);
    const auto n = std::count_if(block->threads.begin(), block->threads.end(), alike);
    char mask[48] = "";
    if (t.state == IN_COLLECTIVE) std::snprintf(mask, sizeof mask, " for the lanes 0x%08x", t.mask);
    s += "\n  " + number(static_cast<int>(n)) + " threads (the first: " + number(t.id) + ") wait at " + at(t.where) +
         (t.state == AT_BARRIER  ? " in __syncthreads"
          : t.state == SUSPENDED ? std::string(" for ") + t.waits_for
                                 : " in a warp operation") +
         mask;
  }
  return s + "\n  " + number(block->finished) + " threads have left the kernel";
}

// What run_grid does with the stacks of threads that never end.
void drop_fibres() {
  block->idle.clear();
#ifdef __SANITIZE_ADDRESS__
  for (const auto& f : block->all) __asan_unpoison_memory_region(f->base, f->size);
#endif
  block->all.clear();
}

void run_block(dim3 at_block) {
  const dim3 size = config->block;
  int id = 0;
  for (unsigned z = 0; z < size.z; ++z)
    for (unsigned y = 0; y < size.y; ++y)
      for (unsigned x = 0; x < size.x; ++x, ++id) {
        Thread& t = block->threads[static_cast<size_t>(id)];
        t.thread = {x, y, z};
        t.block = {at_block.x, at_block.y, at_block.z};
        t.id = id;
        t.lane = id % 32;
        t.warp = id / 32;
        t.state = FRESH;
        t.warp_epoch = 0;
      }
  block->next = block->waiting = block->finished = 0;
  block->warps.assign(static_cast<size_t>(id + 31) / 32, Warp{});
  block->ready.clear();
  block->head = 0;
  block->error = nullptr;
  forget_copies();
  forget_warpgroups();
  if (hooks.on_block) hooks.on_block();
  block->fibre = &block->main;
  switch_to(take_fibre());
  if (!block->error && block->finished != id) block->error = std::make_exception_ptr(nnfast::DeviceError(deadlock()));
  if (block->error) {
    drop_fibres();
    std::rethrow_exception(block->error);
  }
  if (hooks.on_block_end) hooks.on_block_end();
}
}  // namespace

void abandon(const std::string& text) {
  block->error = std::make_exception_ptr(nnfast::DeviceError(text));
  switch_to(&block->main);
  __builtin_unreachable();
}

void observe(const void* p, size_t bytes, Access access, Where where) {
  if (hooks.on_access) hooks.on_access(p, bytes, access, where);
}

char* dynamic_base() { return block->shared_base; }
void* dynamic_shared() { return block->shared_base; }

bool on_fibre_stack(const void* p) {
  const char* c = static_cast<const char*>(p);
  return c >= block->fibre->base && c < block->fibre->base + block->fibre->size;
}

bool is_emulator_data(const void* p) {
  const char* c = static_cast<const char*>(p);
  const auto within = [c](const void* begin, size_t bytes) {
    const char* b = static_cast<const char*>(begin);
    return c >= b && c < b + bytes;
  };
  return within(block->threads.data(), block->threads.size() * sizeof(Thread)) || within(config, sizeof *config) ||
         within(&self, sizeof self) || within(&config, sizeof config);
}

void barrier(Where where) {
  self->state = AT_BARRIER;
  self->where = where;
  if (++block->waiting + block->finished < block->size()) return wait();
  check_same_barrier();
  self->state = RUNNING;
  release_barrier(where);
}

void suspend(const char* waits_for, Where where) {
  self->state = SUSPENDED;
  self->where = where;
  self->waits_for = waits_for;
  wait();
}
void resume(Thread* t) { block->ready.push_back(t); }
void go_ahead(const std::vector<Thread*>& others) {
  block->ready.insert(block->ready.begin() + static_cast<ptrdiff_t>(block->head), others.begin(), others.end());
  block->ready.push_back(self);
  wait();
}

void* allocate(size_t bytes) {
  void* p = std::aligned_alloc(256, (bytes + 255) / 256 * 256 + 256);
  if (hooks.on_allocate) hooks.on_allocate(p, bytes);
  if (!p) throw std::bad_alloc();
  return p;
}
void release(void* p) {
  if (hooks.on_release) hooks.on_release(p);
  std::free(p);
}

void collective(unsigned mask, Complete* complete, void* argument, Where where) {
  Thread* me = self;
  Thread* lane = &block->threads[static_cast<size_t>(me->warp) * 32];
  Warp& warp = block->warps[static_cast<size_t>(me->warp)];
  const int lanes = std::min(32, block->size() - me->warp * 32);
  const unsigned exist = lanes == 32 ? ~0u : (1u << lanes) - 1, bit = 1u << me->lane;
  if (!(mask & bit))
    abandon("[warp mask] thread " + number(me->id) + " is not in the mask that it gives at " + at(where));
  const unsigned others = mask & exist & ~bit;
  if (others & warp.left)
    abandon("[warp mask] lane " + number(std::countr_zero(others & warp.left)) + " of warp " + number(me->warp) +
            " is in the mask at " + at(where) + ", but has left the kernel");
  me->mask = mask;
  me->kind = reinterpret_cast<const void*>(complete);
  me->argument = argument;
  me->where = where;
  warp.uniform = !warp.waiting || (warp.uniform && warp.mask == mask);
  warp.mask = mask;
  // A lane in another meeting may still come here later, unless it waits for this one there.
  const auto meets = [&](const Thread& o) {
    if (o.mask == mask && o.kind == me->kind && same_place(o.where, where)) return true;
    if (o.mask & bit) {
      char masks[48];
      std::snprintf(masks, sizeof masks, "0x%08x and 0x%08x", mask, o.mask);
      abandon("[warp mask] lanes " + number(me->lane) + " and " + number(o.lane) + " of warp " + number(me->warp) +
              " wait for each other in different warp operations, with masks " + masks + ", at " + at(where) + " and " +
              at(o.where));
    }
    return false;
  };
  unsigned arrived = 0, seen = others & warp.waiting;
  if (warp.uniform && seen && meets(lane[std::countr_zero(seen)])) {
    arrived = seen;
  } else if (!warp.uniform) {
    for (; seen; seen &= seen - 1)
      if (meets(lane[std::countr_zero(seen)])) arrived |= seen & -seen;
  }
  if (arrived != others) {
    me->state = IN_COLLECTIVE;
    warp.waiting |= bit;
    return wait();
  }
  void* arguments[32] = {};
  for (unsigned m = mask & exist; m; m &= m - 1) arguments[std::countr_zero(m)] = lane[std::countr_zero(m)].argument;
  complete(mask & exist, arguments);
  warp.waiting &= ~mask;
  const unsigned ordered = argument == nullptr;  // only __syncwarp orders memory, a shuffle does not
  me->warp_epoch += ordered;
  for (unsigned m = others; m; m &= m - 1) {
    Thread& o = lane[std::countr_zero(m)];
    o.warp_epoch += ordered;
    o.state = RUNNING;
    block->ready.push_back(&o);
  }
}

unsigned ballot(unsigned mask, bool vote, Where where) {
  struct Vote {
    bool vote;
    unsigned result;
  } mine{vote, 0};
  collective(
      mask,
      [](unsigned m, void* const* lanes) {
        unsigned votes = 0;
        for (int i = 0; i < 32; ++i)
          if (m >> i & 1 && static_cast<Vote*>(lanes[i])->vote) votes |= 1u << i;
        for (int i = 0; i < 32; ++i)
          if (m >> i & 1) static_cast<Vote*>(lanes[i])->result = votes;
      },
      &mine, where);
  return mine.result;
}

// One system thread runs one grid at a time: nothing comes between.
namespace {
template <class T, class F>
T replace(T* p, F f) {
  const T old = *p;
  *p = f(old);
  return old;
}
}  // namespace
#define ATOMIC(name, T, expression)                                       \
  T name(T* p, T v) {                                                     \
    return replace(p, [v](T old) { return static_cast<T>(expression); }); \
  }
ATOMIC(atomic_add, int, old + v)
ATOMIC(atomic_add, unsigned, old + v)
ATOMIC(atomic_add, unsigned long long, old + v)
ATOMIC(atomic_add, float, old + v)
ATOMIC(atomic_add, double, old + v)
ATOMIC(atomic_min, int, std::min(old, v))
ATOMIC(atomic_min, unsigned, std::min(old, v))
ATOMIC(atomic_min, unsigned long long, std::min(old, v))
ATOMIC(atomic_max, int, std::max(old, v))
ATOMIC(atomic_max, unsigned, std::max(old, v))
ATOMIC(atomic_max, unsigned long long, std::max(old, v))
ATOMIC(atomic_exchange, int, ((void)old, v))
ATOMIC(atomic_exchange, unsigned, ((void)old, v))
#undef ATOMIC
int atomic_cas(int* p, int e, int v) {
  return replace(p, [=](int old) { return old == e ? v : old; });
}
unsigned atomic_cas(unsigned* p, unsigned e, unsigned v) {
  return replace(p, [=](unsigned old) { return old == e ? v : old; });
}
unsigned long long atomic_cas(unsigned long long* p, unsigned long long e, unsigned long long v) {
  return replace(p, [=](unsigned long long old) { return old == e ? v : old; });
}

namespace {
void run_blocks(const Grid& g) {
  const dim3 grid = g.grid, size = g.block;
  const uint64_t threads = uint64_t{size.x} * size.y * size.z;
  if (threads == 0 || threads > 1024 || size.z > 64 || grid.x == 0 || grid.y == 0 || grid.z == 0 ||
      grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535)
    throw nnfast::DeviceError(
        "[launch] a block has 1 to 1024 threads, at most 64 of them in z, a grid at most (2^31 - 1, 65535, 65535) "
        "blocks, and neither is empty. Received: a grid of " +
        triple(grid) + " blocks of " + triple(size) + " threads");
  if (g.shared_bytes > MOST_SHARED)
    throw nnfast::DeviceError("[launch] a block has at most " + std::to_string(MOST_SHARED) +
                              " bytes of shared memory. Received: " + std::to_string(g.shared_bytes) +
                              " bytes of dynamic shared memory");
  const std::lock_guard lock(one_grid_at_a_time());
  static auto* storage = new Block;  // never destroyed: a thread may run a kernel at the exit
  block = storage;
  Launch launch{grid, size, g.shared_bytes};
  config = &launch;
  block->threads.assign(threads, Thread{});
  block->body = g.run;
  block->context = g.closure;
  block->shared.resize(std::max(block->shared.size(), g.shared_bytes + 256));
  block->shared_base = reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(block->shared.data()) + 127) / 128 * 128);
  struct End {
    ~End() {
      if (hooks.on_end) hooks.on_end();
      config = nullptr;
      self = nullptr;
    }
  } end;
  if (hooks.on_launch) hooks.on_launch(g.kernel);
  for (unsigned z = 0; z < grid.z; ++z)
    for (unsigned y = 0; y < grid.y; ++y)
      for (unsigned x = 0; x < grid.x; ++x) run_block({x, y, z});
}
}  // namespace

bool (*later)(cudaStream_t, const Grid&) = nullptr;

void run_grid(cudaStream_t stream, const Grid& grid) {
  if (!later || !later(stream, grid)) run_now(grid);
}

void run_now(const Grid& grid) {
  try {
    run_blocks(grid);
  } catch (const std::exception& e) {
    if (hooks.on_error) hooks.on_error(e.what());
    throw;
  }
}

}  // namespace emulator
