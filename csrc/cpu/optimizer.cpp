// Optimizer steps: lists of variables as one long range, cut into chunks. Limit: the bandwidth of memory.
// The learning rate and the step count are read here, from their buffers, so that a replay sees them change.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "../ops.h"
#include "kernels.h"
#include "parallel.h"
#include "status.h"

namespace nnfast {
namespace {

constexpr int64_t GRAIN = 1 << 14;  // elements: 3 to 5 µs of work; a multiple of every vector

int64_t chunks_of(int64_t size) { return (size + GRAIN - 1) / GRAIN; }

// step(arrays, n, part, chunk) for pieces of the list, in parallel. The chunks depend on the sizes alone; they are
// numbered through the list.
template <class T, class Step>
void for_pieces(const OptimizerList& list, const Step& step) {
  int64_t chunks_before[OptimizerList::MOST + 1] = {};
  for (int i = 0; i < list.count; ++i) chunks_before[i + 1] = chunks_before[i] + chunks_of(list.part[i].size);
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
      step(a, std::min(GRAIN, p.size - from), i, chunk);
    }
  });
}
template <class T, class Kernel, class Rates>
void for_variables(const OptimizerList& list, Kernel kernel, const Rates& rates) {
  for_pieces<T>(list, [&](const auto& a, int64_t n, int, int64_t) { kernel(a, n, rates); });
}

}  // namespace

void sgd(const OptimizerList& list, const double* lr, double momentum, double dampening, bool nesterov,
         double weight_decay, double l2, bool pytorch, const Status* status) {
  if (stopped(status)) return;
  const double taken = 1 - dampening;
  visit_float(list.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const SgdRates<T> rates{
        T(pytorch ? taken : -*lr * taken), T(pytorch ? -*lr : 1), T(momentum), T(weight_decay * *lr), T(l2), nesterov};
    for_variables<T>(list, kernels().optimizer.get<T>().sgd, rates);
  });
}

void rmsprop(const OptimizerList& list, const double* lr, double rho, double momentum, double epsilon,
             double weight_decay, double l2, bool pytorch, const Status* status) {
  if (stopped(status)) return;
  visit_float(list.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const RmspropRates<T> rates{
        T(pytorch ? 1 : *lr),     T(pytorch ? *lr : 1),  T(rho), T(1 - rho), T(momentum), T(pytorch ? 0 : epsilon),
        T(pytorch ? epsilon : 0), T(weight_decay * *lr), T(l2)};
    for_variables<T>(list, kernels().optimizer.get<T>().rmsprop, rates);
  });
}

void adam(const OptimizerList& list, const double* lr, const int64_t* step, double beta_1, double beta_2,
          double epsilon, double weight_decay, double l2, bool pytorch, const Status* status) {
  if (stopped(status)) return;
  const double t = static_cast<double>(*step) + 1, root = std::sqrt(1 - std::pow(beta_2, t));
  const double rate = *lr * root / (1 - std::pow(beta_1, t));
  // m / (sqrt(v) / root + epsilon) = root * m / (sqrt(v) + root * epsilon)
  const double added = pytorch ? root * epsilon : epsilon;
  visit_float(list.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const AdamRates<T> rates{T(rate), T(1 - beta_1), T(1 - beta_2), T(added), T(weight_decay * *lr), T(l2)};
    for_variables<T>(list, kernels().optimizer.get<T>().adam, rates);
  });
}

void adagrad(const OptimizerList& list, const double* lr, double epsilon, double weight_decay, double l2, bool pytorch,
             const Status* status) {
  if (stopped(status)) return;
  visit_float(list.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const AdagradRates<T> rates{T(pytorch ? 1 : *lr),     T(pytorch ? *lr : 1),  T(pytorch ? 0 : epsilon),
                                T(pytorch ? epsilon : 0), T(weight_decay * *lr), T(l2)};
    for_variables<T>(list, kernels().optimizer.get<T>().adagrad, rates);
  });
}

void adadelta(const OptimizerList& list, const double* lr, double rho, double epsilon, double weight_decay,
              const Status* status) {
  if (stopped(status)) return;
  visit_float(list.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const AdadeltaRates<T> rates{T(*lr), T(rho), T(1 - rho), T(epsilon), T(weight_decay * *lr)};
    for_variables<T>(list, kernels().optimizer.get<T>().adadelta, rates);
  });
}

void adamax(const OptimizerList& list, const double* lr, const int64_t* step, double beta_1, double beta_2,
            double epsilon, double weight_decay, const Status* status) {
  if (stopped(status)) return;
  const double rate = *lr / (1 - std::pow(beta_1, static_cast<double>(*step) + 1));
  visit_float(list.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const AdamaxRates<T> rates{T(rate), T(1 - beta_1), T(beta_2), T(epsilon), T(weight_decay * *lr)};
    for_variables<T>(list, kernels().optimizer.get<T>().adamax, rates);
  });
}

void lion(const OptimizerList& list, const double* lr, double beta_1, double beta_2, double weight_decay,
          const Status* status) {
  if (stopped(status)) return;
  visit_float(list.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const LionRates<T> rates{T(*lr), T(beta_1), T(1 - beta_1), T(beta_2), T(1 - beta_2), T(weight_decay * *lr)};
    for_variables<T>(list, kernels().optimizer.get<T>().lion, rates);
  });
}

namespace {
// The momentum of step t, counted from 1: T. Dozat, "Incorporating Nesterov momentum into Adam", 2016.
double nadam_momentum(double beta_1, double t) { return beta_1 * (1 - 0.5 * std::pow(0.96, t)); }
}  // namespace

void nadam(const OptimizerList& list, const View& product, const double* lr, const int64_t* step, double beta_1,
           double beta_2, double epsilon, double weight_decay, const Status* status) {
  if (stopped(status)) return;
  const double t = static_cast<double>(*step) + 1;
  const double now = nadam_momentum(beta_1, t), next = nadam_momentum(beta_1, t + 1);
  const double before = visit_float(
      product.dtype, [&](auto tag) { return static_cast<double>(*product.as<typename decltype(tag)::type>()); });
  const double of_m = *lr * next / (1 - before * now * next), of_g = *lr * (1 - now) / (1 - before * now);
  visit_float(list.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const NadamRates<T> rates{T(of_m),
                              T(of_g),
                              T(1 / (1 - std::pow(beta_2, t))),
                              T(1 - beta_1),
                              T(1 - beta_2),
                              T(epsilon),
                              T(weight_decay * *lr)};
    for_variables<T>(list, kernels().optimizer.get<T>().nadam, rates);
  });
}

void nadam_advance(const View& product, const int64_t* step, double beta_1, const Status* status) {
  if (stopped(status)) return;
  visit_float(product.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    T* p = product.as<T>();
    *p = T(static_cast<double>(*p) * nadam_momentum(beta_1, static_cast<double>(*step) + 1));
  });
}

void ftrl(const OptimizerList& list, const double* lr, const Ftrl& how, double weight_decay, const Status* status) {
  if (stopped(status)) return;
  visit_float(list.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const FtrlRates<T> rates{T(*lr),
                             T(-how.power),
                             T(how.l1),
                             T(2 * how.l2 + how.beta / *lr),
                             T(2 * how.l2_shrinkage),
                             T(weight_decay * *lr)};
    for_variables<T>(list, kernels().optimizer.get<T>().ftrl, rates);
  });
}

// ---- what a step does before and after ----

void every_nth(const int64_t* step, int64_t n, int64_t* turns, Status* gate, const Status* status) {
  *turns = *step / n;
  *gate = Status{};
  if (stopped(status))
    *gate = *status;
  else if ((*step + 1) % n != 0)
    gate->code = WAITING;
}

void mean_gradients(const OptimizerList& list, const int64_t* step, int64_t n, double scale, const Status* status) {
  if (stopped(status)) return;
  const bool last = (*step + 1) % n == 0;
  visit_float(list.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    for_pieces<T>(list, [&](const auto& a, int64_t size, int, int64_t) {
      kernels().optimizer.get<T>().mean_gradient(a, size, T(scale), T(n), last);
    });
  });
}

int64_t gradient_chunks(int64_t size) { return chunks_of(size); }

void gradient_squares(const OptimizerList& list, const ClipHow& how, const Status* status) {
  if (stopped(status)) return;
  visit_float(list.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    for_pieces<T>(list, [&](const auto& a, int64_t n, int, int64_t chunk) {
      how.sums[how.chunks_before + chunk] = kernels().optimizer.get<T>().squares(a.g, n, T(how.scale));
    });
  });
}

void clip_gradients(const OptimizerList& list, const ClipHow& how, const Status* status) {
  if (stopped(status)) return;
  double factor[OptimizerList::MOST];
  const double* sums = how.sums + how.chunks_before;
  for (int i = 0; i < list.count; ++i) {
    const bool global = how.clip == Clip::global_norm;
    factor[i] = 1;
    if (how.clip != Clip::norm && !global) continue;
    const int64_t chunks = chunks_of(list.part[i].size);
    const double norm = std::sqrt(global ? std::accumulate(how.sums, how.sums + how.all_chunks, 0.0)
                                         : std::accumulate(sums, sums + chunks, 0.0));
    sums += chunks;
    if (!(norm <= how.limit)) factor[i] = global && std::isinf(norm) ? NAN : how.limit / norm;
  }
  visit_float(list.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T limit = how.clip == Clip::value ? T(how.limit) : std::numeric_limits<T>::infinity();
    for_pieces<T>(list, [&](const auto& a, int64_t n, int i, int64_t) {
      kernels().optimizer.get<T>().clip(a.g, a.state[0], n, T(how.scale), T(factor[i]), limit);
    });
  });
}

void average_weights(const OptimizerList& list, const int64_t* step, double momentum, int64_t overwrite_every,
                     const Status* status) {
  if (stopped(status)) return;
  const double m = *step == 0 ? 0 : momentum;
  const bool overwrite = overwrite_every && (*step + 1) % overwrite_every == 0;
  visit_float(list.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const AverageRates<T> rates{T(m), T(1 - m), overwrite};
    for_variables<T>(list, kernels().optimizer.get<T>().average_weights, rates);
  });
}

}  // namespace nnfast
