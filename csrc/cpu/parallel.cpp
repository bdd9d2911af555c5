// The thread pool of parallel.h. Rules: a caller always works on its own job and idle workers help, so nested and
// concurrent calls are served and nobody waits for a worker that has not started; no queue and no lock on the hot path;
// an idle thread spins at most 50 microseconds, then sleeps; after fork the child forgets the jobs and the workers and
// hires anew; workers stop at exit; no exception leaves a worker.
#include "parallel.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <limits>
#include <mutex>
#include <new>
#include <utility>

#include "limits.h"

namespace nnfast {
namespace {

using std::memory_order_acq_rel, std::memory_order_acquire, std::memory_order_relaxed, std::memory_order_release;

constexpr int MAX_WORKERS = 1023;
constexpr int64_t NO_CHUNK = std::numeric_limits<int64_t>::max();

// Where one caller puts its job. 16 callers at once are helped; one more works alone.
struct alignas(64) Desk {
  // epoch << 32 | chunks not yet taken. A chunk is taken by subtracting one. If the exchange succeeds with chunks left,
  // the job was not over, so the fields of the job that were read before it belong to this epoch.
  std::atomic<uint64_t> ticket{0};
  std::atomic<uint32_t> pending{0};  // chunks not finished
  std::atomic<bool> taken{false};
  std::atomic<Chunk> run{nullptr};
  std::atomic<const void*> fn{nullptr};
  std::atomic<int64_t> n{0}, grain{1};
  std::atomic<int> workers{0};  // how many may help
  std::mutex failing;
  int64_t failed_at = NO_CHUNK;  // where the lowest chunk that threw begins, and what it threw
  std::exception_ptr failure;
};

// The first number of a comma-separated list (OMP_NUM_THREADS has one per nesting level), or 0 if it is not positive.
int parse_count(const char* text) {
  if (!text) return 0;
  char* end;
  errno = 0;
  const long count = std::strtol(text, &end, 10);
  while (*end == ' ') ++end;
  if (end == text || (*end != '\0' && *end != ',') || errno != 0 || count < 1) return 0;
  return static_cast<int>(std::min<long>(count, MAX_WORKERS + 1));
}

int default_threads() {
  if (const int count = parse_count(std::getenv("NNFAST_NUM_THREADS"))) return count;
  if (const int count = parse_count(std::getenv("OMP_NUM_THREADS"))) return count;
  return std::min(allowed_cores(), MAX_WORKERS + 1);
}

struct Team {
  Desk desks[16];
  alignas(64) std::atomic<uint32_t> news{0};        // raised at each new job; idle workers sleep on it
  alignas(64) std::atomic<int> wanted;              // workers, so threads less one; surplus workers sleep on it
  std::atomic<int> started{0}, limit{MAX_WORKERS};  // limit: how many the system was willing to start
  std::atomic<bool> stopping{false};
  std::mutex hiring;  // held to start or join workers
  pthread_t workers[MAX_WORKERS];
  Team() : wanted(default_threads() - 1) {}
};
Team& team() {
  static Team* t = new Team;
  return *t;
}

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb");  // `yield` does nothing on most cores
#endif
}

// True if done() came about within 50 microseconds. Waking a sleeper costs 20 (measured); spinning 200 gains no more
// and takes the core from others.
template <class Done>
bool spin(const Done& done) {
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::microseconds(50);
  do {
    for (int i = 0; i < 50; ++i) {
      if (done()) return true;
      relax();
    }
  } while (Clock::now() < end);
  return false;
}

void run_chunk(Desk& d, Chunk run, const void* fn, int64_t begin, int64_t end) noexcept {
  try {
    run(fn, begin, end);
  } catch (...) {
    std::lock_guard hold(d.failing);
    if (begin < d.failed_at) {
      d.failed_at = begin;
      d.failure = std::current_exception();
    }
  }
}

// Does chunks of the job until none is left. The caller has id -1.
void help(Desk& d, int id) {
  for (uint64_t t = d.ticket.load(memory_order_acquire); const uint32_t left = static_cast<uint32_t>(t);) {
    const int64_t n = d.n.load(memory_order_relaxed), grain = d.grain.load(memory_order_relaxed);
    const Chunk run = d.run.load(memory_order_relaxed);
    const void* fn = d.fn.load(memory_order_relaxed);
    if (id >= d.workers.load(memory_order_relaxed)) return;
    if (!d.ticket.compare_exchange_weak(t, t - 1, memory_order_acq_rel, memory_order_acquire)) continue;
    const int64_t begin = ((n - 1) / grain + 1 - left) * grain;
    run_chunk(d, run, fn, begin, begin + std::min(grain, n - begin));
    if (d.pending.fetch_sub(1, memory_order_acq_rel) == 1) d.pending.notify_one();
    t = d.ticket.load(memory_order_acquire);
  }
}

void work(int id) {
  Team& t = team();
  uint32_t seen = 0;
  while (!t.stopping.load(memory_order_acquire)) {
    if (const int wanted = t.wanted.load(memory_order_acquire); id >= wanted && wanted >= 0) {
      t.wanted.wait(wanted, memory_order_acquire);
      continue;
    }
    if (!spin([&] { return t.news.load(memory_order_acquire) != seen; })) t.news.wait(seen, memory_order_acquire);
    seen = t.news.load(memory_order_acquire);
    for (Desk& d : t.desks) help(d, id);
  }
}

// Signals are for the threads of the program; faults stay with the thread that made them.
bool start_worker(Team& t, int id) {
  sigset_t blocked, before;
  sigfillset(&blocked);
  for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS}) sigdelset(&blocked, fault);
  pthread_sigmask(SIG_SETMASK, &blocked, &before);
  const auto main = [](void* p) -> void* {
    work(static_cast<int>(reinterpret_cast<intptr_t>(p)));
    return nullptr;
  };
  const int error = pthread_create(&t.workers[id], nullptr, main, reinterpret_cast<void*>(static_cast<intptr_t>(id)));
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return error == 0;
}

void hire(Team& t, int count) {
  const std::unique_lock hold(t.hiring, std::try_to_lock);
  if (!hold || t.stopping.load(memory_order_relaxed)) return;  // another caller hires: go on without
  for (int id = t.started.load(memory_order_relaxed); id < count; ++id) {
    if (!start_worker(t, id)) {  // no thread to be had: do without, and do not ask at each job
      t.limit.store(id, memory_order_relaxed);
      return;
    }
    t.started.store(id + 1, memory_order_release);
  }
}

void stop() {
  Team& t = team();
  std::lock_guard hold(t.hiring);
  t.stopping.store(true);
  t.wanted.store(-1);
  t.wanted.notify_all();
  t.news.fetch_add(1);
  t.news.notify_all();
  for (int id = 0; id < t.started.load(); ++id) pthread_join(t.workers[id], nullptr);
  t.started.store(0);
}

// Only the thread that forked exists in the child: no job is in flight, and there are no workers.
void forget_workers() {
  Team& t = team();
  for (Desk& d : t.desks) new (&d) Desk;
  t.started.store(0);
  t.limit.store(MAX_WORKERS);
  t.hiring.unlock();
}
[[maybe_unused]] const int at_fork =
    pthread_atfork([] { team().hiring.lock(); }, [] { team().hiring.unlock(); }, forget_workers);
[[maybe_unused]] const int at_exit = std::atexit(stop);

Desk* free_desk(Team& t) {
  for (Desk& d : t.desks) {
    if (!d.taken.load(memory_order_relaxed) && !d.taken.exchange(true, memory_order_acquire)) return &d;
  }
  return nullptr;
}

void run_alone(Chunk run, const void* fn, int64_t n, int64_t grain) {
  for (int64_t begin = 0; begin < n;) {
    const int64_t end = begin + std::min(grain, n - begin);
    run(fn, begin, end);
    begin = end;
  }
}

void post(Team& t, Desk& d, Chunk run, const void* fn, int64_t n, int64_t grain, uint32_t count, int workers) {
  d.run.store(run, memory_order_relaxed);
  d.fn.store(fn, memory_order_relaxed);
  d.n.store(n, memory_order_relaxed);
  d.grain.store(grain, memory_order_relaxed);
  d.workers.store(workers, memory_order_relaxed);
  d.pending.store(count, memory_order_relaxed);
  const uint64_t epoch = (d.ticket.load(memory_order_relaxed) >> 32) + 1;
  d.ticket.store(epoch << 32 | count, memory_order_release);
  t.news.fetch_add(1, memory_order_acq_rel);
  const uint32_t helpers = count - 1;
  if (helpers >= static_cast<uint32_t>(t.started.load(memory_order_acquire))) {
    t.news.notify_all();  // only a load when nobody sleeps
  } else {
    for (uint32_t i = 0; i < helpers; ++i) t.news.notify_one();
  }
}

}  // namespace

void run_chunks(Chunk run, const void* fn, int64_t n, int64_t grain) {
  Team& t = team();
  const int64_t count = (n - 1) / grain + 1;
  const int workers = std::min(t.wanted.load(memory_order_relaxed), t.limit.load(memory_order_relaxed));
  const bool shared = workers > 0 && count > 1 && count <= std::numeric_limits<uint32_t>::max();
  Desk* desk = shared ? free_desk(t) : nullptr;
  if (!desk) return run_alone(run, fn, n, grain);
  const int useful = static_cast<int>(std::min<int64_t>(workers, count - 1));
  if (t.started.load(memory_order_relaxed) < useful) hire(t, useful);
  Desk& d = *desk;
  post(t, d, run, fn, n, grain, static_cast<uint32_t>(count), workers);
  help(d, -1);
  if (!spin([&] { return d.pending.load(memory_order_acquire) == 0; })) {
    for (uint32_t left; (left = d.pending.load(memory_order_acquire)) != 0;) d.pending.wait(left, memory_order_acquire);
  }
  const std::exception_ptr failure = std::exchange(d.failure, nullptr);
  d.failed_at = NO_CHUNK;
  d.taken.store(false, memory_order_release);
  if (failure) std::rethrow_exception(failure);
}

void set_num_threads(int count) {
  Team& t = team();
  if (t.stopping.load(memory_order_relaxed)) return;
  t.limit.store(MAX_WORKERS, memory_order_relaxed);
  t.wanted.store(std::clamp(count, 1, MAX_WORKERS + 1) - 1, memory_order_release);
  t.wanted.notify_all();  // those that were surplus
  t.news.fetch_add(1, memory_order_acq_rel);
  t.news.notify_all();  // those that are now, or they would swallow a wake-up meant for others
}

int num_threads() { return std::max(team().wanted.load(memory_order_relaxed), 0) + 1; }

}  // namespace nnfast
