// Optimizer steps: lists of variables as one long range, cut into chunks. Limit: the bandwidth of memory.
// The learning rate and the step count are read here, from their buffers, so that a replay sees them change.
#include <algorithm>
#include <cmath>

#include "../ops.h"
#include "kernels.h"
#include "parallel.h"
#include "status.h"

namespace nnfast {
namespace {

constexpr int64_t GRAIN = 1 << 14;  // elements: 3 to 5 µs of work; a multiple of every vector

// step(arrays, n) for pieces of the list, in parallel. The chunks depend on the sizes alone.
template <class T, class Step>
void for_pieces(const OptimizerList& list, const Step& step) {
  int64_t chunks_before[OptimizerList::MOST + 1] = {};
  for (int i = 0; i < list.count; ++i)
    chunks_before[i + 1] = chunks_before[i] + (list.part[i].size + GRAIN - 1) / GRAIN;
  // Small variables share a chunk of the parallel work with their neighbours.
  int64_t total = 0;
  for (int i = 0; i < list.count; ++i) total += list.part[i].size;
  const int64_t chunks = chunks_before[list.count];
  const int64_t grain =
      total <= 2 * GRAIN ? chunks : std::max<int64_t>(1, chunks * GRAIN / std::max<int64_t>(1, total));
  parallel_for_flushed(chunks, grain, [&](int64_t begin, int64_t end) {
    int i = 0;
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      while (chunk >= chunks_before[i + 1]) ++i;
      const OptimizerPart& p = list.part[i];
      const int64_t from = (chunk - chunks_before[i]) * GRAIN;
      OptimizerArrays<T> a{static_cast<T*>(p.w) + from, static_cast<const T*>(p.g) + from, {}};
      for (int s = 0; s < 3; ++s) a.state[s] = p.state[s] ? static_cast<T*>(p.state[s]) + from : nullptr;
      step(a, std::min(GRAIN, p.size - from));
    }
  });
}

}  // namespace

void sgd(const OptimizerList& list, const double* lr, double momentum, bool nesterov, double weight_decay,
         const Status* status) {
  if (stopped(status)) return;
  visit_float(list.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const SgdRates<T> rates{T(*lr), T(momentum), T(weight_decay * *lr), nesterov};
    for_pieces<T>(list, [&](const auto& a, int64_t n) { kernels().optimizer.get<T>().sgd(a, n, rates); });
  });
}

void rmsprop(const OptimizerList& list, const double* lr, double rho, double momentum, double epsilon,
             double weight_decay, const Status* status) {
  if (stopped(status)) return;
  visit_float(list.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const RmspropRates<T> rates{T(*lr), T(rho), T(1 - rho), T(momentum), T(epsilon), T(weight_decay * *lr)};
    for_pieces<T>(list, [&](const auto& a, int64_t n) { kernels().optimizer.get<T>().rmsprop(a, n, rates); });
  });
}

void adam(const OptimizerList& list, const double* lr, const int64_t* step, double beta_1, double beta_2,
          double epsilon, double weight_decay, const Status* status) {
  if (stopped(status)) return;
  const double t = static_cast<double>(*step) + 1;
  const double rate = *lr * std::sqrt(1 - std::pow(beta_2, t)) / (1 - std::pow(beta_1, t));
  visit_float(list.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const AdamRates<T> rates{T(rate), T(1 - beta_1), T(1 - beta_2), T(epsilon), T(weight_decay * *lr)};
    for_pieces<T>(list, [&](const auto& a, int64_t n) { kernels().optimizer.get<T>().adam(a, n, rates); });
  });
}

}  // namespace nnfast
