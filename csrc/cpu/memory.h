// The caching allocator behind every array that kernels return: 64-byte aligned, capped, returned to the system by
// empty_cache(). Fresh pages cost more than the arithmetic on them, so a released block rests and is handed out again.
// Rules: any thread may release what any thread allocated, without the GIL; nothing here is ever destroyed, because
// arrays outlive main(); a block belongs to the pool that it came from until that pool is retired.
#pragma once
#include <cstddef>
#include <cstdint>

namespace nnfast {

static_assert(sizeof(size_t) == 8, "nnfast is for 64-bit machines");

// Where blocks rest. There is one general pool, and one for each plan: what is released during a capture is reused by
// that capture only, because every replay writes there again.
struct Pool;

// The header, in the 64 bytes just below the data.
struct alignas(64) Block {
  Pool* home;
  Block* next;   // in the list of resting blocks of one class
  size_t bytes;  // the capacity: at least what was asked for
  int64_t version;
  int32_t size_class;
  bool exact;   // allocated with the cache off: ends where the data ends, and never handed out twice
  bool mapped;  // its own mapping, with huge pages; otherwise from malloc
};
static_assert(sizeof(Block) == 64);
inline Block* block_of(void* data) { return static_cast<Block*>(data) - 1; }

// Throws std::bad_alloc, after the cache was emptied for a second try. Zero bytes give a valid pointer too.
void* allocate(size_t bytes);  // from this thread's pool: that of the plan being captured, else the general one
void* allocate_for_life(size_t bytes);  // Variables, slots, caches: from the general pool, even during a capture
void release(void* data) noexcept;      // nullptr is allowed

// The version of an array allocated for life: 0 at birth, raised by each kernel that writes it. It lies beside the
// data, so that a replay, which runs no Python, raises it too. Like the data, it is not synchronised.
inline int64_t& version_of(void* data) { return block_of(data)->version; }

Pool* make_pool();
void retire(Pool* pool) noexcept;  // what rests goes to the general pool now; blocks still out go there when released
Pool*& thread_pool();              // this thread allocates from it; nullptr: the general pool

struct MemoryStats {
  size_t live;     // blocks handed out
  size_t used;     // their bytes
  size_t resting;  // bytes kept for reuse
  size_t peak;     // the most bytes ever handed out at once
};
MemoryStats memory_stats(const Pool* pool = nullptr);  // nullptr: the general pool
size_t empty_cache() noexcept;                         // frees what rests in the general pool; returns its bytes
void set_cache_cap(size_t bytes) noexcept;             // the most that may rest in the general pool; trims it now

}  // namespace nnfast
