// Optimizer steps: all variables of a list in one launch, as chunks of which a block takes several. Each array is read
// and written once, 16 bytes at a time. A rule computes its rates in the kernel, from the learning rate and the step
// count on the device, once per block. Limit: the bandwidth of memory.
#include "block_sum.cuh"
#include "math.cuh"
#include "status.cuh"

namespace nnfast {
namespace {

constexpr int THREADS = 256;
constexpr int64_t MOST_BLOCKS = 132 * 8;

// ---- rules: rates() from what lies on the device, then apply() to one element ----
// w: the variable; g: its gradient; s: its state. An absent array is all zeros and is not written.
struct Rule {
  template <class Rates>
  __device__ static bool writes_w(const Rates&) {
    return true;
  }
};

// The gradient with that of an L2 penalty. Without one it stays as it is, whatever w is.
template <class T>
__device__ inline T with_l2(T g, T w, T l2) {
  return l2 == T(0) ? g : g + l2 * w;
}
// beta^t for a count of steps.
__device__ inline double power(double beta, double t) { return pow(beta, t); }

template <class T>
struct Sgd : Rule {
  const double* lr;
  double momentum, dampening, weight_decay, l2;
  bool nesterov, pytorch, has_momentum;

  struct Rates {
    T in, out, momentum, decay, l2;
  };
  __device__ Rates rates() const {
    const double taken = 1 - dampening;
    return {T(pytorch ? taken : -*lr * taken), T(pytorch ? -*lr : 1), T(momentum), T(weight_decay * *lr), T(l2)};
  }
  __device__ void apply(const Rates& r, T& w, T g, T (&s)[3]) const {
    const T step = r.in * with_l2(g, w, r.l2), shrunk = w - w * r.decay;
    if (!has_momentum) {
      w = shrunk + r.out * step;
      return;
    }
    s[0] = r.momentum * s[0] + step;
    w = shrunk + r.out * (nesterov ? r.momentum * s[0] + step : s[0]);
  }
};

template <class T>
struct Rmsprop : Rule {
  const double* lr;
  double rho, momentum, epsilon, weight_decay, l2;
  bool pytorch;

  struct Rates {
    T in, out, rho, rest, momentum, inside, outside, decay, l2;
  };
  __device__ Rates rates() const {
    return {T(pytorch ? 1 : *lr),     T(pytorch ? *lr : 1),  T(rho), T(1 - rho), T(momentum), T(pytorch ? 0 : epsilon),
            T(pytorch ? epsilon : 0), T(weight_decay * *lr), T(l2)};
  }
  bool has_momentum, centered;
  __device__ void apply(const Rates& r, T& w, T g, T (&s)[3]) const {
    g = with_l2(g, w, r.l2);
    s[0] = r.rho * s[0] + r.rest * g * g;
    T spread = s[0];
    if (centered) {
      s[2] = r.rho * s[2] + r.rest * g;
      spread -= s[2] * s[2];
    }
    T step = r.in * g / (sqrt(spread + r.inside) + r.outside);
    if (has_momentum) step = s[1] = r.momentum * s[1] + step;
    w = w - w * r.decay - r.out * step;
  }
};

template <class T>
struct Adam : Rule {
  const double* lr;
  const int64_t* step;
  double beta_1, beta_2, epsilon, weight_decay, l2;
  bool pytorch, amsgrad;

  struct Rates {
    T rate, rest_1, rest_2, epsilon, decay, l2;
  };
  __device__ Rates rates() const {
    const double t = static_cast<double>(*step) + 1, root = ::sqrt(1 - power(beta_2, t));
    // m / (sqrt(v) / root + epsilon) = root * m / (sqrt(v) + root * epsilon)
    return {T(*lr * root / (1 - power(beta_1, t))), T(1 - beta_1),         T(1 - beta_2),
            T(pytorch ? root * epsilon : epsilon),  T(weight_decay * *lr), T(l2)};
  }
  __device__ void apply(const Rates& r, T& w, T g, T (&s)[3]) const {
    g = with_l2(g, w, r.l2);
    s[0] += r.rest_1 * (g - s[0]);
    s[1] += r.rest_2 * (g * g - s[1]);
    T spread = s[1];
    if (amsgrad) spread = s[2] = max(s[2], s[1]);
    w = w - w * r.decay - r.rate * s[0] / (sqrt(spread) + r.epsilon);
  }
};

template <class T>
struct Adagrad : Rule {
  const double* lr;
  double epsilon, weight_decay, l2;
  bool pytorch;

  struct Rates {
    T in, out, inside, outside, decay, l2;
  };
  __device__ Rates rates() const {
    return {T(pytorch ? 1 : *lr),     T(pytorch ? *lr : 1),  T(pytorch ? 0 : epsilon),
            T(pytorch ? epsilon : 0), T(weight_decay * *lr), T(l2)};
  }
  __device__ void apply(const Rates& r, T& w, T g, T (&s)[3]) const {
    g = with_l2(g, w, r.l2);
    s[0] += g * g;
    w = w - w * r.decay - r.out * (r.in * g / (sqrt(s[0] + r.inside) + r.outside));
  }
};

template <class T>
struct Adadelta : Rule {
  const double* lr;
  double rho, epsilon, weight_decay;

  struct Rates {
    T rate, rho, rest, epsilon, decay;
  };
  __device__ Rates rates() const { return {T(*lr), T(rho), T(1 - rho), T(epsilon), T(weight_decay * *lr)}; }
  __device__ void apply(const Rates& r, T& w, T g, T (&s)[3]) const {
    s[0] = r.rho * s[0] + r.rest * g * g;
    const T step = sqrt(s[1] + r.epsilon) * g / sqrt(s[0] + r.epsilon);
    s[1] = r.rho * s[1] + r.rest * step * step;
    w = w - w * r.decay - r.rate * step;
  }
};

template <class T>
struct Adamax : Rule {
  const double* lr;
  const int64_t* step;
  double beta_1, beta_2, epsilon, weight_decay;

  struct Rates {
    T rate, rest_1, beta_2, epsilon, decay;
  };
  __device__ Rates rates() const {
    const double t = static_cast<double>(*step) + 1;
    return {T(*lr / (1 - power(beta_1, t))), T(1 - beta_1), T(beta_2), T(epsilon), T(weight_decay * *lr)};
  }
  __device__ void apply(const Rates& r, T& w, T g, T (&s)[3]) const {
    s[0] += r.rest_1 * (g - s[0]);
    s[1] = max(r.beta_2 * s[1], abs(g));
    w = w - w * r.decay - r.rate * s[0] / (s[1] + r.epsilon);
  }
};

template <class T>
struct Lion : Rule {
  const double* lr;
  double beta_1, beta_2, weight_decay;

  struct Rates {
    T rate, beta_1, rest_1, beta_2, rest_2, decay;
  };
  __device__ Rates rates() const {
    return {T(*lr), T(beta_1), T(1 - beta_1), T(beta_2), T(1 - beta_2), T(weight_decay * *lr)};
  }
  __device__ void apply(const Rates& r, T& w, T g, T (&s)[3]) const {
    w = w - w * r.decay - r.rate * sign(r.beta_1 * s[0] + r.rest_1 * g);
    s[0] = r.beta_2 * s[0] + r.rest_2 * g;
  }
};

// The momentum of step t, counted from 1: T. Dozat, "Incorporating Nesterov momentum into Adam", 2016.
__device__ inline double nadam_momentum(double beta_1, double t) { return beta_1 * (1 - 0.5 * power(0.96, t)); }

struct OneFloat {
  void* data;
  bool wide;
  __device__ double read() const {
    return wide ? *static_cast<const double*>(data) : static_cast<double>(*static_cast<const float*>(data));
  }
  __device__ void write(double x) const {
    if (wide)
      *static_cast<double*>(data) = x;
    else
      *static_cast<float*>(data) = static_cast<float>(x);
  }
};

template <class T>
struct Nadam : Rule {
  OneFloat product;
  const double* lr;
  const int64_t* step;
  double beta_1, beta_2, epsilon, weight_decay;

  struct Rates {
    T of_m, of_g, of_v, rest_1, rest_2, epsilon, decay;
  };
  __device__ Rates rates() const {
    const double t = static_cast<double>(*step) + 1, before = product.read();
    const double now = nadam_momentum(beta_1, t), next = nadam_momentum(beta_1, t + 1);
    return {T(*lr * next / (1 - before * now * next)),
            T(*lr * (1 - now) / (1 - before * now)),
            T(1 / (1 - power(beta_2, t))),
            T(1 - beta_1),
            T(1 - beta_2),
            T(epsilon),
            T(weight_decay * *lr)};
  }
  __device__ void apply(const Rates& r, T& w, T g, T (&s)[3]) const {
    s[0] += r.rest_1 * (g - s[0]);
    s[1] += r.rest_2 * (g * g - s[1]);
    w = w - w * r.decay - (r.of_m * s[0] + r.of_g * g) / (sqrt(s[1] * r.of_v) + r.epsilon);
  }
};

template <class T>
__device__ inline T power_of_sum(T x, T power) {
  return power == T(0.5) ? sqrt(x) : pow(x, power);
}
template <class T>
struct FtrlRule : Rule {
  const double* lr;
  Ftrl how;
  double weight_decay;

  struct Rates {
    T rate, power, l1, l2, shrinkage, decay;
  };
  __device__ Rates rates() const {
    return {T(*lr),
            T(-how.power),
            T(how.l1),
            T(2 * how.l2 + how.beta / *lr),
            T(2 * how.l2_shrinkage),
            T(weight_decay * *lr)};
  }
  __device__ void apply(const Rates& r, T& w, T g, T (&s)[3]) const {
    w -= w * r.decay;
    const T before = power_of_sum(s[0], r.power);
    s[0] += g * g;
    const T grown = power_of_sum(s[0], r.power);
    s[1] += g + r.shrinkage * w - (grown - before) / r.rate * w;
    w = (clamp(s[1], -r.l1, r.l1) - s[1]) / (grown / r.rate + r.l2);
  }
};

template <class T>
struct MeanGradient : Rule {  // w: the sum
  const int64_t* step;
  int64_t n;
  double scale;

  struct Rates {
    T scale, share;
    bool last;
  };
  __device__ Rates rates() const { return {T(scale), T(n), (*step + 1) % n == 0}; }
  __device__ void apply(const Rates& r, T& w, T g, T (&s)[3]) const {
    const T sum = w + r.scale * g;
    w = r.last ? T(0) : sum;
    s[0] = sum / r.share;
  }
};

template <class T>
struct AverageWeights : Rule {
  const int64_t* step;
  double momentum;
  int64_t overwrite_every;

  struct Rates {
    T momentum, rest;
    bool overwrite;
  };
  __device__ Rates rates() const {
    const double m = *step == 0 ? 0 : momentum;
    return {T(m), T(1 - m), overwrite_every != 0 && (*step + 1) % overwrite_every == 0};
  }
  __device__ static bool writes_w(const Rates& r) { return r.overwrite; }
  __device__ void apply(const Rates& r, T& w, T, T (&s)[3]) const {
    s[0] = r.momentum * s[0] + r.rest * w;
    w = s[0];
  }
};

// ---- one of the rules: they share a kernel, which chooses as it runs, once for several elements ----
#define RULES(RULE)        \
  RULE(Sgd, sgd)           \
  RULE(Rmsprop, rmsprop)   \
  RULE(Adam, adam)         \
  RULE(Adagrad, adagrad)   \
  RULE(Adadelta, adadelta) \
  RULE(Adamax, adamax)     \
  RULE(Lion, lion)         \
  RULE(Nadam, nadam)       \
  RULE(FtrlRule, ftrl)     \
  RULE(MeanGradient, mean) \
  RULE(AverageWeights, average)

template <class T>
struct AnyRule {
#define RULE(Type, name) name,
  enum class Kind { RULES(RULE) } kind;
#undef RULE
  union {
#define RULE(Type, name) Type<T> name;
    RULES(RULE)
#undef RULE
  };
#define RULE(Type, name) \
  AnyRule(const Type<T>& rule) : kind(Kind::name), name(rule) {}
  RULES(RULE)
#undef RULE

  template <class F>
  __device__ void visit(const F& fn) const {
    switch (kind) {
#define RULE(Type, name) \
  case Kind::name:       \
    return fn(name);
      RULES(RULE)
#undef RULE
    }
  }
};

// ---- one launch for a list ----

// Chunks of each variable, numbered through the list: before[i] is the number of the first one of variable i.
struct Chunks {
  int64_t before[OptimizerList::MOST + 1];
  int64_t size;

  Chunks(const OptimizerList& list, int64_t size_) : size(size_) {
    before[0] = 0;
    for (int i = 0; i < list.count; ++i) before[i + 1] = before[i] + ceil_div(list.part[i].size, size);
    for (int i = list.count; i < OptimizerList::MOST; ++i) before[i + 1] = before[i];
  }
  __host__ __device__ int64_t count() const { return before[OptimizerList::MOST]; }
  __device__ int part_of(int64_t chunk) const {
    int i = 0;
#pragma unroll 1
    while (chunk >= before[i + 1]) ++i;
    return i;
  }
};

// Pack number i of an array, of which `count` elements are there.
template <class T>
__device__ inline Pack<T> read_pack(const void* array, int64_t i, int count, bool packs) {
  Pack<T> p{};
  if (!array) return p;
  const T* from = static_cast<const T*>(array) + i * Pack<T>::N;
  if (packs && count >= Pack<T>::N) return *reinterpret_cast<const Pack<T>*>(from);
#pragma unroll
  for (int k = 0; k < Pack<T>::N; ++k)
    if (k < count) p.v[k] = from[k];
  return p;
}
template <class T>
__device__ inline void write_pack(void* array, int64_t i, int count, bool packs, const Pack<T>& p) {
  if (!array) return;
  T* to = static_cast<T*>(array) + i * Pack<T>::N;
  if (packs && count >= Pack<T>::N) {
    *reinterpret_cast<Pack<T>*>(to) = p;
    return;
  }
#pragma unroll
  for (int k = 0; k < Pack<T>::N; ++k)
    if (k < count) to[k] = p.v[k];
}
__device__ inline bool all_aligned(const OptimizerPart& p) {
  uintptr_t bits = reinterpret_cast<uintptr_t>(p.w) | reinterpret_cast<uintptr_t>(p.g);
  for (int k = 0; k < 3; ++k) bits |= reinterpret_cast<uintptr_t>(p.state[k]);
  return bits % 16 == 0;
}

// A chunk here is one pack per thread.
struct alignas(8) AnyRates {
  unsigned char bytes[96];
};
template <class T>
__global__ void __launch_bounds__(THREADS)
    step_kernel(OptimizerList list, Chunks chunks, AnyRule<T> any, const Status* status) {
  __shared__ AnyRates any_rates;
  if (stopped(status)) return;
  AnyRates* const rates = &any_rates;
  if (threadIdx.x == 0)
    any.visit([=](const auto& rule) {
      const auto r = rule.rates();
      static_assert(sizeof r <= sizeof(AnyRates));
      memcpy(rates, &r, sizeof r);
    });
  __syncthreads();
#pragma unroll 1
  for (int64_t chunk = blockIdx.x; chunk < chunks.count(); chunk += gridDim.x) {
    const int part = chunks.part_of(chunk);
    const OptimizerPart& p = list.part[part];
    const int64_t i = (chunk - chunks.before[part]) * THREADS + threadIdx.x, left = p.size - i * Pack<T>::N;
    if (left <= 0) continue;
    const int count = left < Pack<T>::N ? static_cast<int>(left) : Pack<T>::N;
    const bool packs = all_aligned(p);
    Pack<T> w = read_pack<T>(p.w, i, count, packs), state[3];
    const Pack<T> g = read_pack<T>(p.g, i, count, packs);
#pragma unroll
    for (int k = 0; k < 3; ++k) state[k] = read_pack<T>(p.state[k], i, count, packs);
    bool writes = true;
    any.visit([&](const auto& rule) {
      using R = std::remove_cv_t<std::remove_reference_t<decltype(rule)>>;
      typename R::Rates r;
      memcpy(&r, rates, sizeof r);
      writes = R::writes_w(r);
#pragma unroll
      for (int e = 0; e < Pack<T>::N; ++e) {
        T s[3] = {state[0].v[e], state[1].v[e], state[2].v[e]};
        rule.apply(r, w.v[e], g.v[e], s);
#pragma unroll
        for (int k = 0; k < 3; ++k) state[k].v[e] = s[k];
      }
    });
    if (writes) write_pack(p.w, i, count, packs, w);
#pragma unroll
    for (int k = 0; k < 3; ++k) write_pack(p.state[k], i, count, packs, state[k]);
  }
}

template <class T>
void start(const OptimizerList& list, const AnyRule<T>& rule, const Status* status) {
  const Chunks chunks(list, THREADS * Pack<T>::N);
  if (chunks.count())
    launch(step_kernel<T>, blocks_for(chunks.count(), 1, MOST_BLOCKS), THREADS, 0, stream(), list, chunks, rule,
           status);
}
bool has(const OptimizerList& list, int state) { return list.count && list.part[0].state[state]; }

}  // namespace

void sgd(const OptimizerList& list, const double* lr, double momentum, double dampening, bool nesterov,
         double weight_decay, double l2, bool pytorch, const Status* status) {
  visit_float(list.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    start<T>(list, Sgd<T>{{}, lr, momentum, dampening, weight_decay, l2, nesterov, pytorch, has(list, 0)}, status);
  });
}

void rmsprop(const OptimizerList& list, const double* lr, double rho, double momentum, double epsilon,
             double weight_decay, double l2, bool pytorch, const Status* status) {
  visit_float(list.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    start<T>(list, Rmsprop<T>{{}, lr, rho, momentum, epsilon, weight_decay, l2, pytorch, has(list, 1), has(list, 2)},
             status);
  });
}

void adam(const OptimizerList& list, const double* lr, const int64_t* step, double beta_1, double beta_2,
          double epsilon, double weight_decay, double l2, bool pytorch, const Status* status) {
  visit_float(list.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    start<T>(list, Adam<T>{{}, lr, step, beta_1, beta_2, epsilon, weight_decay, l2, pytorch, has(list, 2)}, status);
  });
}

void adagrad(const OptimizerList& list, const double* lr, double epsilon, double weight_decay, double l2, bool pytorch,
             const Status* status) {
  visit_float(list.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    start<T>(list, Adagrad<T>{{}, lr, epsilon, weight_decay, l2, pytorch}, status);
  });
}

void adadelta(const OptimizerList& list, const double* lr, double rho, double epsilon, double weight_decay,
              const Status* status) {
  visit_float(list.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    start<T>(list, Adadelta<T>{{}, lr, rho, epsilon, weight_decay}, status);
  });
}

void adamax(const OptimizerList& list, const double* lr, const int64_t* step, double beta_1, double beta_2,
            double epsilon, double weight_decay, const Status* status) {
  visit_float(list.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    start<T>(list, Adamax<T>{{}, lr, step, beta_1, beta_2, epsilon, weight_decay}, status);
  });
}

void lion(const OptimizerList& list, const double* lr, double beta_1, double beta_2, double weight_decay,
          const Status* status) {
  visit_float(list.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    start<T>(list, Lion<T>{{}, lr, beta_1, beta_2, weight_decay}, status);
  });
}

void nadam(const OptimizerList& list, const View& product, const double* lr, const int64_t* step, double beta_1,
           double beta_2, double epsilon, double weight_decay, const Status* status) {
  const OneFloat p{product.data, product.dtype == DType::float64};
  visit_float(list.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    start<T>(list, Nadam<T>{{}, p, lr, step, beta_1, beta_2, epsilon, weight_decay}, status);
  });
}

void ftrl(const OptimizerList& list, const double* lr, const Ftrl& how, double weight_decay, const Status* status) {
  visit_float(list.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    start<T>(list, FtrlRule<T>{{}, lr, how, weight_decay}, status);
  });
}

void mean_gradients(const OptimizerList& list, const int64_t* step, int64_t n, double scale, const Status* status) {
  visit_float(list.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    start<T>(list, MeanGradient<T>{{}, step, n, scale}, status);
  });
}

void average_weights(const OptimizerList& list, const int64_t* step, double momentum, int64_t overwrite_every,
                     const Status* status) {
  visit_float(list.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    start<T>(list, AverageWeights<T>{{}, step, momentum, overwrite_every}, status);
  });
}

namespace {
__global__ void nadam_advance_kernel(OneFloat product, const int64_t* step, double beta_1, const Status* status) {
  if (!stopped(status)) product.write(product.read() * nadam_momentum(beta_1, static_cast<double>(*step) + 1));
}

__global__ void every_nth_kernel(const int64_t* step, int64_t n, int64_t* turns, Status* gate, const Status* status) {
  *turns = *step / n;
  gate->code = stopped(status) ? status->code : (*step + 1) % n != 0 ? WAITING : OK;
  gate->step = stopped(status) ? status->step : 0;
  gate->sample = stopped(status) ? status->sample : 0;
  gate->value = stopped(status) ? status->value : 0;
  gate->now = stopped(status) ? status->now : 0;
}

// ---- clipping ----
constexpr int64_t CLIP_CHUNK = 1 << 14;

template <class T>
__global__ void __launch_bounds__(THREADS)
    squares_kernel(OptimizerList list, Chunks chunks, T scale, double* sums, const Status* status) {
  __shared__ double room[THREADS];
  if (stopped(status)) return;
#pragma unroll 1
  for (int64_t chunk = blockIdx.x; chunk < chunks.count(); chunk += gridDim.x) {
    const int part = chunks.part_of(chunk);
    const int64_t from = (chunk - chunks.before[part]) * chunks.size, left = list.part[part].size - from;
    const T* g = static_cast<const T*>(list.part[part].g) + from;
    const double sum = block_sum<THREADS>(left < chunks.size ? left : chunks.size, room, [=](int64_t i) {
      const double s = static_cast<double>(scale * g[i]);
      return s * s;
    });
    if (threadIdx.x == 0) sums[chunk] = sum;
  }
}

template <class T>
__global__ void __launch_bounds__(THREADS)
    clip_kernel(OptimizerList list, Chunks chunks, ClipHow how, const Status* status) {
  __shared__ double room[THREADS];
  if (stopped(status)) return;
  const T limit = how.clip == Clip::value ? T(how.limit) : T(INFINITY), scale = T(how.scale);
  T factor = 1;
  const auto share = [&](double norm, bool global) {
    if (norm <= how.limit) return T(1);
    return global && norm == INFINITY ? T(NAN) : T(how.limit / norm);
  };
  if (how.clip == Clip::global_norm)
    factor = share(::sqrt(block_sum<THREADS>(how.all_chunks, room, [&](int64_t i) { return how.sums[i]; })), true);
  int last = -1;
#pragma unroll 1
  for (int64_t chunk = blockIdx.x; chunk < chunks.count(); chunk += gridDim.x) {
    const int part = chunks.part_of(chunk);
    const OptimizerPart& p = list.part[part];
    if (how.clip == Clip::norm && part != last) {
      const double* sums = how.sums + how.chunks_before + chunks.before[part];
      const int64_t n = chunks.before[part + 1] - chunks.before[part];
      factor = share(::sqrt(block_sum<THREADS>(n, room, [=](int64_t i) { return sums[i]; })), false);
      last = part;
    }
    const bool packs = all_aligned(p);
    const int64_t from = (chunk - chunks.before[part]) * chunks.size / Pack<T>::N;
#pragma unroll 1
    for (int64_t i = from + threadIdx.x; i < from + chunks.size / Pack<T>::N; i += THREADS) {
      const int64_t left = p.size - i * Pack<T>::N;
      if (left <= 0) break;
      const int count = left < Pack<T>::N ? static_cast<int>(left) : Pack<T>::N;
      Pack<T> g = read_pack<T>(p.g, i, count, packs);
#pragma unroll
      for (T& v : g.v) v = clamp(scale * v, -limit, limit) * factor;
      write_pack(p.state[0], i, count, packs, g);
    }
  }
}
}  // namespace

void nadam_advance(const View& product, const int64_t* step, double beta_1, const Status* status) {
  launch(nadam_advance_kernel, 1, 1, 0, stream(), OneFloat{product.data, product.dtype == DType::float64}, step, beta_1,
         status);
}

void every_nth(const int64_t* step, int64_t n, int64_t* turns, Status* gate, const Status* status) {
  launch(every_nth_kernel, 1, 1, 0, stream(), step, n, turns, gate, status);
}

int64_t gradient_chunks(int64_t size) { return ceil_div(size, CLIP_CHUNK); }

void gradient_squares(const OptimizerList& list, const ClipHow& how, const Status* status) {
  const Chunks chunks(list, CLIP_CHUNK);
  if (chunks.count() == 0) return;
  visit_float(list.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(squares_kernel<T>, blocks_for(chunks.count(), 1, MOST_BLOCKS), THREADS, 0, stream(), list, chunks,
           static_cast<T>(how.scale), how.sums + how.chunks_before, status);
  });
}

void clip_gradients(const OptimizerList& list, const ClipHow& how, const Status* status) {
  const Chunks chunks(list, CLIP_CHUNK);
  if (chunks.count() == 0) return;
  visit_float(list.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(clip_kernel<T>, blocks_for(chunks.count(), 1, MOST_BLOCKS), THREADS, 0, stream(), list, chunks, how, status);
  });
}

}  // namespace nnfast
