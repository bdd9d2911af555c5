// parallel_for(n, grain, fn): calls fn(begin, end) for each chunk of `grain` numbers of [0, n). The only place that
// knows threads. Rules: the chunks depend on n and grain alone, so results do not depend on the number of threads;
// calls may nest and may come from many threads at once; an exception of fn is rethrown in the caller, that of the
// lowest chunk if there are several, after all chunks are done with.
#pragma once
#include <cstdint>

#include "subnormals.h"

namespace nnfast {

using Chunk = void (*)(const void* fn, int64_t begin, int64_t end);
void run_chunks(Chunk run, const void* fn, int64_t n, int64_t grain);  // n > 0, grain > 0

// The default is NNFAST_NUM_THREADS, else OMP_NUM_THREADS, else the cores that this process may use; a value that is
// not a positive number is passed over. Threads are started when a job first has use for them.
void set_num_threads(int count);  // clamped to [1, 1024]; holds for jobs that start after it
int num_threads();

template <class F>
void parallel_for(int64_t n, int64_t grain, const F& fn) {
  if (n <= 0) return;
  if (n <= grain) {
    fn(int64_t{0}, n);
    return;
  }
  const auto run = [](const void* f, int64_t begin, int64_t end) { (*static_cast<const F*>(f))(begin, end); };
  run_chunks(run, &fn, n, grain < 1 ? 1 : grain);
}

// The same with subnormals flushed to zero inside fn, whichever thread runs it.
template <class F>
void parallel_for_flushed(int64_t n, int64_t grain, const F& fn) {
  parallel_for(n, grain, [&fn](int64_t begin, int64_t end) {
    const FlushSubnormals flush;
    fn(begin, end);
  });
}

}  // namespace nnfast
