// The caching allocator. Run as it is and with NNFAST_CACHE=0; `test_memory overrun` writes one byte too many, which
// AddressSanitizer must see.
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "../../csrc/cpu/memory.h"
#include "check.h"

using namespace nnfast;

namespace {

constexpr size_t MB = size_t{1} << 20;

bool caching() {
  release(allocate(100));
  return memory_stats().resting > 0;
}

void sizes() {
  std::vector<size_t> all{0, 1, 63, 64, 65, 80, 81, 1000, 4096};
  for (size_t power = 128; power <= 8 * MB; power *= 2) {
    for (const size_t quarter : {4, 5, 6, 7}) {
      for (const size_t off : {0, 1, 2}) all.push_back(power / 4 * quarter - 1 + off);
    }
  }
  for (const size_t bytes : all) {
    char* p = static_cast<char*>(allocate(bytes));
    CHECK(reinterpret_cast<uintptr_t>(p) % 64 == 0);
    CHECK(block_of(p)->bytes >= bytes);
    CHECK(block_of(p)->bytes <= (bytes <= 64 ? 64 : bytes + bytes / 4));
    CHECK(memory_stats().live == 1 && memory_stats().used == block_of(p)->bytes);
    std::memset(p, 1, block_of(p)->bytes);
    release(p);
  }
  release(nullptr);
  CHECK(memory_stats().live == 0 && memory_stats().used == 0 && memory_stats().peak >= 8 * MB);
  empty_cache();
}

void impossible_sizes() {
  const size_t before = memory_stats().live;
  for (const size_t bytes :
       {SIZE_MAX, SIZE_MAX - 63, SIZE_MAX / 2, (size_t{1} << 62) + 1, size_t{1} << 62, size_t{1} << 60}) {
    CHECK_THROWS(std::bad_alloc, allocate(bytes));
    CHECK_THROWS(std::bad_alloc, allocate_for_life(bytes));
  }
  CHECK(memory_stats().live == before && memory_stats().used == 0);
}

void versions() {
  void* a = allocate_for_life(1000);
  void* b = allocate_for_life(1000);
  CHECK(version_of(a) == 0);
  version_of(a) += 3;
  std::memset(a, 0xff, 1000);
  std::memset(b, 0xff, 1000);
  CHECK(version_of(a) == 3 && version_of(b) == 0);
  release(a);
  void* c = allocate_for_life(1000);
  CHECK(version_of(c) == 0);
  release(b);
  release(c);
}

void reuse() {
  empty_cache();
  void* a = allocate(5000);
  release(a);
  CHECK(memory_stats().resting == 5120);
  void* b = allocate(4700);  // the same class
  CHECK(b == a && memory_stats().resting == 0);
  void* c = allocate(4700);
  CHECK(c != b);
  release(b);
  release(c);
  CHECK(memory_stats().resting == 2 * 5120 && empty_cache() == 2 * 5120 && memory_stats().resting == 0);
}

void cap() {
  empty_cache();
  std::vector<void*> many;
  for (int i = 0; i < 20; ++i) many.push_back(allocate(2 * MB));
  for (void* p : many) release(p);
  CHECK(memory_stats().resting == 40 * MB);
  set_cache_cap(10 * MB);  // trims what rests already
  CHECK(memory_stats().resting == 10 * MB);
  for (int i = 0; i < 20; ++i) many[static_cast<size_t>(i)] = allocate(MB);
  for (void* p : many) release(p);
  CHECK(memory_stats().resting <= 10 * MB);
  release(allocate(11 * MB));  // larger than the cap: never rests, and does not push others out
  CHECK(memory_stats().resting <= 10 * MB && memory_stats().resting > 8 * MB);

  // A cache full of one size makes room for another: the second time round it is kept.
  void* other = allocate(5 * MB);
  release(other);
  CHECK(memory_stats().resting <= 10 * MB);
  const size_t resting = memory_stats().resting;
  other = allocate(5 * MB);
  CHECK(memory_stats().resting == resting - 5 * MB);
  release(other);

  set_cache_cap(0);
  CHECK(memory_stats().resting == 0);
  release(allocate(100));
  CHECK(memory_stats().resting == 0);
  set_cache_cap(1024 * MB);
}

// empty_cache gives all of it back, also of arrays with mappings of their own and odd tails.
void returns_to_the_system() {
  const auto round = [] {
    for (const size_t bytes : {MB, MB + 1, 3 * MB - 64, 5 * MB + 4096, 64 * MB}) {
      void* p = allocate(bytes);
      std::memset(p, 1, bytes);
      release(p);
    }
    empty_cache();
  };
  round();
  const size_t before = address_space();
  for (int i = 0; i < 10; ++i) round();
  CHECK(address_space() < before + MB);
}

// With the address space nearly used up, a request that fits only in place of the cache gets it.
void flush_and_retry() {
  CHECK(in_child([] {
    empty_cache();
    for (int i = 0; i < 4; ++i) {
      void *p = allocate(64 * MB), *q = allocate(64 * MB);
      release(p);
      release(q);
    }
    CHECK(memory_stats().resting == 128 * MB);
    limit_address_space(16 * MB);
    void* p = allocate(96 * MB);
    CHECK(memory_stats().resting == 0);
    std::memset(p, 1, 96 * MB);
    release(p);
    CHECK_THROWS(std::bad_alloc, allocate(1024 * MB));
    CHECK(memory_stats().live == 0);
  }));
}

void plans(bool cached) {
  empty_cache();
  Pool* plan = make_pool();
  void* outside = allocate(1000);
  thread_pool() = plan;
  void* a = allocate(1000);
  void* life = allocate_for_life(1000);
  CHECK(block_of(a)->home == plan && block_of(life)->home != plan);
  release(a);
  CHECK(memory_stats(plan).live == 0 && memory_stats(plan).resting >= 1000);
  void* b = allocate(1000);
  CHECK((b == a) == cached);  // an exact block stays, unused: a replay will write there
  void* escaped = allocate(1000);
  release(b);
  thread_pool() = nullptr;

  void* general = allocate(1000);  // never a block of the plan
  CHECK(general != a && general != b && block_of(general)->home == block_of(outside)->home);
  std::thread([] { CHECK(thread_pool() == nullptr); }).join();

  const size_t kept = memory_stats(plan).resting, resting = memory_stats().resting, live = memory_stats().live;
  empty_cache();  // the plan's blocks are not for the taking
  CHECK(memory_stats(plan).resting == kept);
  thread_pool() = plan;
  retire(plan);
  CHECK(thread_pool() == nullptr);
  CHECK(memory_stats().resting == (cached ? kept : 0) && resting == 0);
  std::memset(escaped, 1, 1000);  // still whole
  release(escaped);               // the last block of a retired pool: the pool goes, the block comes home
  CHECK(memory_stats().live == live && memory_stats().resting == (cached ? kept + 1024 : 0));
  for (void* p : {outside, life, general}) release(p);
  CHECK(memory_stats().live == 0);
}

// What a plan leaves behind is kept only as far as the cap allows.
void retire_respects_cap() {
  empty_cache();
  set_cache_cap(3 * MB);
  Pool* plan = make_pool();
  thread_pool() = plan;
  void *a = allocate(2 * MB), *b = allocate(2 * MB);
  thread_pool() = nullptr;
  release(a);
  release(b);
  CHECK(memory_stats(plan).resting == 4 * MB);
  retire(plan);
  CHECK(memory_stats().resting == 2 * MB);
  set_cache_cap(1024 * MB);
}

// Allocated here and released there, while plans are made and retired and the cache is emptied.
void threads() {
  std::mutex m;
  std::vector<void*> shelf;
  std::vector<std::thread> all;
  for (int k = 0; k < 4; ++k) {
    all.emplace_back([&, k] {
      for (int i = 0; i < 2000; ++i) {
        Pool* plan = i % 50 == 0 ? make_pool() : nullptr;
        thread_pool() = plan;
        const size_t bytes = 64 + static_cast<size_t>(i * 37 + k) % 4000;
        void* p = allocate(bytes);
        std::memset(p, k, bytes);
        release(allocate(bytes));
        if (plan) retire(plan);
        if (i % 500 == k) empty_cache();
        std::lock_guard hold(m);
        shelf.push_back(p);
        if (shelf.size() > 50) {
          release(shelf.front());
          shelf.erase(shelf.begin());
        }
      }
    });
  }
  for (auto& t : all) t.join();
  for (void* p : shelf) release(p);
  CHECK(memory_stats().live == 0 && memory_stats().used == 0);
}

// A child forked while another thread allocates finds the allocator whole and its lock free. AddressSanitizer's own
// malloc does not hold its lock around fork; under it nobody else allocates.
void forks() {
  void* mine = allocate(1000);
  std::atomic<bool> stop{false};
  std::thread busy([&] {
#ifndef __SANITIZE_ADDRESS__
    while (!stop) release(allocate(1000));
#endif
  });
  for (int i = 0; i < 20; ++i) {
    CHECK(in_child([&] {
      for (size_t bytes = 1; bytes < 4 * MB; bytes *= 2) release(allocate(bytes));
      release(mine);
      empty_cache();
    }));
  }
  stop = true;
  busy.join();
  release(mine);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::string(argv[1]) == "overrun") {
    volatile char* p = static_cast<char*>(allocate(100));
    p[100] = 1;
    return 0;
  }
  const bool cached = caching();
  const char* wanted = std::getenv("NNFAST_CACHE");
  if (wanted) CHECK(cached == (std::string(wanted) != "0"));
  sizes();
  impossible_sizes();
  versions();
  if (cached) {
    reuse();
    cap();
    returns_to_the_system();
    flush_and_retry();
    retire_respects_cap();
  } else {
    CHECK(memory_stats().resting == 0 && empty_cache() == 0);
  }
  plans(cached);
  threads();
  forks();
  empty_cache();
  CHECK(memory_stats().live == 0 && memory_stats().resting == 0);
}
