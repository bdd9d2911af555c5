// The thread pool. `count` prints the default number of threads; `limits ROOT` the cores and bytes that the files under
// ROOT allow; `leave_busy` ends the process while a thread is inside.
#include <pthread.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "../../csrc/cpu/limits.h"
#include "../../csrc/cpu/parallel.h"
#include "check.h"

using namespace nnfast;

namespace {

// Sums [0, n) by chunks into slots of their own, `rounds` times.
bool sums(int64_t n, int rounds) {
  const int64_t grain = (n + 63) / 64;
  for (int r = 0; r < rounds; ++r) {
    int64_t part[64] = {};  // not from malloc, which is not always safe around fork
    parallel_for(n, grain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) part[begin / grain] += i;
    });
    int64_t total = 0;
    for (const int64_t p : part) total += p;
    if (total != n * (n - 1) / 2) return false;
  }
  return true;
}

using Chunks = std::vector<std::pair<int64_t, int64_t>>;
Chunks chunks_of(int64_t n, int64_t grain) {
  std::mutex m;
  Chunks chunks;
  parallel_for(n, grain, [&](int64_t begin, int64_t end) {
    std::lock_guard hold(m);
    chunks.emplace_back(begin, end);
  });
  std::sort(chunks.begin(), chunks.end());
  return chunks;
}

void boundaries() {
  constexpr int64_t MOST = std::numeric_limits<int64_t>::max();
  const std::pair<int64_t, int64_t> cases[] = {
      {-3, 1},   {0, 1},     {1, 1},      {7, 1},     {7, 3},    {8, 4},       {9, 4},           {100, 0},
      {100, -5}, {100, 100}, {100, 1000}, {1001, 10}, {5, MOST}, {MOST, MOST}, {MOST, MOST - 1}, {MOST, MOST / 5}};
  for (const auto& [n, grain] : cases) {
    Chunks want;
    const int64_t step = std::max<int64_t>(grain, 1);
    for (int64_t begin = 0; begin < n;) {
      const int64_t end = n - begin > step ? begin + step : n;
      want.emplace_back(begin, end);
      begin = end;
    }
    for (const int count : {1, 2, 3, 8}) {
      set_num_threads(count);
      CHECK(chunks_of(n, grain) == want);
    }
  }
}

void callers() {
  set_num_threads(3);
  std::vector<std::thread> all;
  for (int k = 0; k < 8; ++k) all.emplace_back([k] { CHECK(sums(1000 + k, 300)); });
  for (auto& t : all) t.join();
  std::vector<std::thread> more;  // more callers than the pool has places for jobs
  for (int k = 0; k < 24; ++k) more.emplace_back([k] { CHECK(sums(2000 + k, 30)); });
  for (auto& t : more) t.join();
}

void nesting() {
  set_num_threads(3);
  std::atomic<int64_t> total{0};
  for (int r = 0; r < 20; ++r) {
    parallel_for(6, 1, [&](int64_t, int64_t) {
      parallel_for(6, 1,
                   [&](int64_t, int64_t) { parallel_for(4, 1, [&](int64_t begin, int64_t) { total += begin; }); });
    });
  }
  CHECK(total == 20 * 36 * 6);
}

void changing_count() {
  for (const int count : {4, 1, 3, 2, 6, 1, 2}) {
    set_num_threads(count);
    CHECK(num_threads() == count);
    CHECK(sums(5000, 50));
  }
  set_num_threads(0);
  CHECK(num_threads() == 1);
  set_num_threads(-4);
  CHECK(num_threads() == 1);
  set_num_threads(1000000);
  CHECK(num_threads() == 1024);
  std::atomic<bool> stop{false};
  std::thread other([&] {
    while (!stop) CHECK(sums(3000, 1));
  });
  for (int r = 0; r < 200; ++r) {
    set_num_threads(1 + r % 5);
    CHECK(sums(2000, 1));
  }
  stop = true;
  other.join();
}

// Jobs of changing shape back to back: every chunk once and inside its range. A late worker must not mix two jobs.
void changing_shape() {
  set_num_threads(6);
  for (int r = 0; r < 3000; ++r) {
    const int64_t n = r % 3 == 0 ? 401408 : r % 3 == 1 ? 512 : 784, grain = r % 3 == 0 ? 65536 : r % 3 == 1 ? 128 : 56;
    std::atomic<int64_t> done{0};
    parallel_for(n, grain, [&done, n, grain](int64_t begin, int64_t end) {
      CHECK(begin >= 0 && begin < n && begin % grain == 0 && end == std::min(n, begin + grain));
      done += end - begin;
    });
    CHECK(done == n);
  }
}

// Two chunks that wait for each other need two threads. Calls on_worker() on the one that is not the caller.
template <class F>
void meet(const F& on_worker) {
  set_num_threads(2);
  const std::thread::id caller = std::this_thread::get_id();
  std::atomic<int> there{0};
  parallel_for(2, 1, [&](int64_t, int64_t) {
    ++there;
    for (int ms = 0; there < 2 && ms < 10000; ++ms) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    CHECK(there == 2);
    if (std::this_thread::get_id() != caller) on_worker();
  });
}

void workers() {
  std::atomic<int> helped{0};
  meet([&] {
    sigset_t blocked;
    pthread_sigmask(SIG_BLOCK, nullptr, &blocked);
    CHECK(sigismember(&blocked, SIGINT) == 1 && sigismember(&blocked, SIGALRM) == 1);  // for the program's own threads
    CHECK(sigismember(&blocked, SIGSEGV) == 0);
    ++helped;
  });
  CHECK(helped == 1);
  sigset_t blocked;
  pthread_sigmask(SIG_BLOCK, nullptr, &blocked);
  CHECK(sigismember(&blocked, SIGINT) == 0);
}

// After the count was lowered, surplus workers take no part, and no wake-up meant for another is lost on them.
void surplus() {
  const std::thread::id caller = std::this_thread::get_id();
  for (int r = 0; r < 50; ++r) {
    set_num_threads(6);
    CHECK(sums(5000, 3));
    set_num_threads(2);
    std::mutex m;
    std::set<std::thread::id> seen{caller};
    parallel_for(64, 1, [&](int64_t, int64_t) {
      std::this_thread::sleep_for(std::chrono::microseconds(5));
      std::lock_guard hold(m);
      seen.insert(std::this_thread::get_id());
    });
    CHECK(seen.size() <= 2);
  }
  set_num_threads(8);
  CHECK(sums(5000, 3));
  for (int r = 0; r < 5; ++r) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));  // all asleep, the one that helped behind the others
    meet([] {});
  }
}

// Idle workers sleep: after the last job the process uses next to no processor time.
void quiet() {
  set_num_threads(4);
  CHECK(sums(5000, 20));
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const auto cpu_ms = [] {
    timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) * 1e3 + static_cast<double>(t.tv_nsec) / 1e6;
  };
  const double before = cpu_ms();
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  CHECK(cpu_ms() - before < 40);  // one spinning worker would use 200
}

void errors() {
  for (const int count : {1, 2, 5}) {
    set_num_threads(count);
    for (int r = 0; r < 50; ++r) {
      int64_t caught = -1;
      try {
        parallel_for(100, 1, [](int64_t begin, int64_t) {
          if (begin % 10 == 7) throw begin;
        });
      } catch (const int64_t at) {
        caught = at;
      }
      CHECK(caught == 7);  // the lowest chunk, for any number of threads
      CHECK(sums(1000, 1));
    }
    const auto nested = [] {
      parallel_for(4, 1, [](int64_t, int64_t) {
        parallel_for(4, 1, [](int64_t, int64_t) { throw std::runtime_error("deep"); });
      });
    };
    CHECK_THROWS(std::runtime_error, nested());
    CHECK_THROWS(std::runtime_error, parallel_for(1, 1, [](int64_t, int64_t) { throw std::runtime_error("one"); }));
  }
  bool kept = false;  // an error on a worker reaches the caller
  try {
    meet([] { throw std::runtime_error("worker"); });
  } catch (const std::runtime_error& e) {
    kept = std::string(e.what()) == "worker";
  }
  CHECK(kept);
}

[[maybe_unused]] float halved_smallest() {
  volatile float smallest = std::numeric_limits<float>::min(), half = 0.5f;
  return smallest * half;
}
[[maybe_unused]] float subnormal_operand() {
  volatile float tiny = std::numeric_limits<float>::denorm_min(), large = 1e38f;
  return tiny * large;
}

void subnormals() {
#if defined(__x86_64__) || defined(__aarch64__)
  CHECK(halved_smallest() > 0 && subnormal_operand() > 0);
  set_num_threads(3);
  for (const int64_t n : {int64_t{1}, int64_t{64}}) {
    parallel_for_flushed(n, 1, [](int64_t, int64_t) { CHECK(halved_smallest() == 0 && subnormal_operand() == 0); });
    parallel_for(n, 1, [](int64_t, int64_t) { CHECK(halved_smallest() > 0); });  // and no thread is left flushing
  }
  const auto fail = [] { parallel_for_flushed(1, 1, [](int64_t, int64_t) { throw 1; }); };
  CHECK_THROWS(int, fail());
  {
    const FlushSubnormals outer;
    {
      const FlushSubnormals inner;
    }
    CHECK(halved_smallest() == 0);
  }
  CHECK(halved_smallest() > 0 && subnormal_operand() > 0);
#endif
}

// The child computes with workers of its own, also when forked while another thread computes. ThreadSanitizer does not
// know threads that are started in such a child; under it the child works alone.
void forks() {
  set_num_threads(3);
  CHECK(sums(4000, 5));
#ifdef __SANITIZE_THREAD__
  constexpr int CHILD_THREADS = 1;
#else
  constexpr int CHILD_THREADS = 2;
  CHECK(in_child([] { workers(); }));
#endif
  std::atomic<bool> stop{false};
  std::thread busy([&] {
    while (!stop) CHECK(sums(3000, 1));
  });
  for (int r = 0; r < 20; ++r) {
    CHECK(in_child([] {
      set_num_threads(CHILD_THREADS);
      CHECK(sums(4000, 10));
    }));
    CHECK(sums(2000, 3));
  }
  stop = true;
  busy.join();
}

// When the system starts no more threads, the caller does the work with those that there are.
void refused_threads() {
#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)  // they do not bear it
  CHECK(in_child([] {
    limit_address_space(size_t{32} << 20);  // room for about four stacks
    set_num_threads(64);
    CHECK(sums(5000, 50));
    CHECK(num_threads() == 64);
  }));
#endif
}

// The process ends while a thread is inside the pool: here, and in a child, which never had its parent's workers.
void leave_busy() {
  set_num_threads(3);
  CHECK(sums(1000, 10));
  std::thread([] {
    for (;;) CHECK(sums(1000, 1));
  }).detach();
  CHECK(in_child([] {
    CHECK(sums(1000, 2));
    std::exit(0);
  }));
  CHECK(sums(1000, 10));
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  if (mode == "count") return std::printf("%d\n", num_threads()) < 0;
  if (mode == "limits") return std::printf("%d %zu\n", quota_cores(argv[2]), allowed_memory(argv[2])) < 0;
  if (mode == "leave_busy") {
    leave_busy();
    return 0;
  }
  boundaries();
  callers();
  nesting();
  changing_count();
  changing_shape();
  workers();
  surplus();
  quiet();
  errors();
  subnormals();
  forks();
  refused_threads();
}
