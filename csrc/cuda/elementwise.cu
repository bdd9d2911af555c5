// Element-wise ops, made from elementwise_ops.inl. A kernel is for all ops of a kind. Where all operands
// lie in order (or are one element) it reads and writes 16 bytes at a time; other layouts go element by element.
// Each element is read before it is written, so y may be x.
#include "map.cuh"
#include "math.cuh"

namespace nnfast {
namespace {

// ---- the ops as functions of one element ----
#define UNARY(op, parameters, result, saved, dx)   \
  template <class T>                               \
  struct unary_##op {                              \
    T p, q;                                        \
    __device__ T operator()(T x) const {           \
      (void)p, (void)q;                            \
      return result;                               \
    }                                              \
  };                                               \
  template <class T>                               \
  struct unary_gradient_##op {                     \
    T p, q;                                        \
    __device__ T operator()(T dy, T saved) const { \
      (void)p, (void)q, (void)dy, (void)saved;     \
      return dx;                                   \
    }                                              \
  };
#define BINARY(op, result, da, db)                             \
  template <class T>                                           \
  struct binary_##op {                                         \
    __device__ T operator()(T a, T b) const { return result; } \
  };                                                           \
  template <class T>                                           \
  struct gradient_a_##op {                                     \
    __device__ T operator()(T dy, T a, T b) const {            \
      (void)a, (void)b;                                        \
      return da;                                               \
    }                                                          \
  };                                                           \
  template <class T>                                           \
  struct gradient_b_##op {                                     \
    __device__ T operator()(T dy, T a, T b) const {            \
      (void)a, (void)b;                                        \
      return db;                                               \
    }                                                          \
  };
#define COMPARISON(op, mask)                                    \
  template <class T>                                            \
  struct comparison_##op {                                      \
    __device__ bool operator()(T a, T b) const { return mask; } \
  };
#include "../elementwise_ops.inl"

// ---- all ops of a kind in one function object: x are several elements of each operand ----
template <class T>
struct any_unary {
  Unary op;
  T p, q;
  template <int N>
  __device__ void operator()(const Several<T, N> (&x)[1], Several<T, N>& y) const {
    switch (op) {
#define UNARY(name, ...) \
  case Unary::name:      \
    return each(unary_##name<T>{p, q}, x, y);
#include "../elementwise_ops.inl"
    }
  }
};
template <class T>
struct any_unary_gradient {
  Unary op;
  T p, q;
  template <int N>
  __device__ void operator()(const Several<T, N> (&x)[2], Several<T, N>& y) const {
    switch (op) {
#define UNARY(name, ...) \
  case Unary::name:      \
    return each(unary_gradient_##name<T>{p, q}, x, y);
#include "../elementwise_ops.inl"
    }
  }
};
template <class T>
struct any_binary {
  Binary op;
  template <int N>
  __device__ void operator()(const Several<T, N> (&x)[2], Several<T, N>& y) const {
    switch (op) {
#define BINARY(name, ...) \
  case Binary::name:      \
    return each(binary_##name<T>{}, x, y);
#include "../elementwise_ops.inl"
    }
  }
};
template <class T>
struct any_gradient {
  Binary op;
  bool by_a;
  template <int N>
  __device__ void operator()(const Several<T, N> (&x)[3], Several<T, N>& y) const {
    switch (op) {
#define BINARY(name, ...) \
  case Binary::name:      \
    return by_a ? each(gradient_a_##name<T>{}, x, y) : each(gradient_b_##name<T>{}, x, y);
#include "../elementwise_ops.inl"
    }
  }
};
template <class T>
struct any_comparison {
  Comparison op;
  template <int N>
  __device__ void operator()(const Several<T, N> (&x)[2], Several<bool, N>& y) const {
    switch (op) {
#define COMPARISON(name, ...) \
  case Comparison::name:      \
    return each(comparison_##name<T>{}, x, y);
#include "../elementwise_ops.inl"
    }
  }
};
}  // namespace

void unary(Unary op, const View& x, double p, double q, const View& y) {
  visit_float(x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    map<T, T>(any_unary<T>{op, T(p), T(q)}, y, x);
  });
}

void unary_gradient(Unary op, const View& dy, const View& saved, double p, double q, const View& dx) {
  visit_float(dy.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    map<T, T>(any_unary_gradient<T>{op, T(p), T(q)}, dx, dy, saved);
  });
}

void binary(Binary op, const View& a, const View& b, const View& y) {
  visit_float(a.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    map<T, T>(any_binary<T>{op}, y, a, b);
  });
}

void compare(Comparison op, const View& a, const View& b, const View& y) {
  visit_float(a.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    map<T, bool>(any_comparison<T>{op}, y, a, b);
  });
}

namespace {
// ---- where: its condition is of another type, so it has kernels of its own ----
template <class T>
__global__ void __launch_bounds__(THREADS)
    where_kernel(const bool* condition, const T* a, const T* b, Walk<4> walk, T* y) {
#pragma unroll 1
  for (int64_t i = global_thread(); i < walk.size; i += all_threads()) {
    int64_t at[4];
    walk.at(i, at);
    y[at[0]] = condition[at[1]] ? a[at[2]] : b[at[3]];
  }
}
template <class T>
__global__ void __launch_bounds__(THREADS)
    where_gradient_kernel(const T* dy, const bool* condition, bool wanted, Walk<3> walk, T* d) {
#pragma unroll 1
  for (int64_t i = global_thread(); i < walk.size; i += all_threads()) {
    int64_t at[3];
    walk.at(i, at);
    d[at[0]] = condition[at[2]] == wanted ? dy[at[1]] : T(0);
  }
}

// ---- gradients of repeated operands: made for every element in scratch, then summed along the axes of repetition ----
struct Repeated {
  bool given = false;
  uint32_t axes = 0;  // of dy, to be summed
  View full;          // scratch of the shape of dy
  void* scratch = nullptr;
};
// Lays the scratch of one operand out from `from` bytes on; without a base it only measures.
size_t lay_out(Repeated& r, const View& dy, const View& result, char* base, size_t from) {
  if (!result.given()) return from;
  bool same = result.ndim == dy.ndim;
  for (int i = 0; i < dy.ndim; ++i) {
    const int at = i - (dy.ndim - result.ndim);
    if (at >= 0 && result.shape[at] == dy.shape[i]) continue;
    same = false;
    r.axes |= 1u << i;
  }
  if (same) return from;
  const auto take = [&](size_t bytes) {
    char* const p = base ? base + from : nullptr;
    from += (bytes + 255) / 256 * 256;
    return p;
  };
  r.given = true;
  r.full = dy.dense(take(static_cast<size_t>(dy.size() * size_of(dy.dtype))));
  r.scratch = take(reduce_scratch(r.full, r.axes, Reduction::sum));
  return from;
}
void sum_repeated(const Repeated& r, const View& result) {
  if (r.given) reduce(r.full, r.axes, Reduction::sum, result, r.scratch);
}
}  // namespace

size_t binary_gradient_scratch(const View& dy, const View& da, const View& db) {
  Repeated a, b;
  return lay_out(b, dy, db, nullptr, lay_out(a, dy, da, nullptr, 0));
}

void binary_gradient(Binary op, const View& dy, const View& a, const View& b, const View& da, const View& db,
                     void* scratch) {
  Repeated ra, rb;
  char* const base = static_cast<char*>(scratch);
  lay_out(rb, dy, db, base, lay_out(ra, dy, da, base, 0));
  const View to_a = ra.given ? ra.full : da, to_b = rb.given ? rb.full : db;
  visit_float(dy.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if (to_a.given()) map<T, T>(any_gradient<T>{op, true}, to_a, dy, a, b);
    if (to_b.given()) map<T, T>(any_gradient<T>{op, false}, to_b, dy, a, b);
  });
  sum_repeated(ra, da);
  sum_repeated(rb, db);
}

void where(const View& condition, const View& a, const View& b, const View& y) {
  visit_float(a.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto walk = walk_over(y, condition, a, b);
    if (walk.size)
      launch(where_kernel<T>, blocks_for(walk.size, THREADS, MOST_BLOCKS), THREADS, 0, stream(), condition.as<bool>(),
             a.as<T>(), b.as<T>(), walk, y.as<T>());
  });
}

void where_gradient(const View& dy, const View& condition, const View& da, const View& db, void* scratch) {
  Repeated ra, rb;
  char* const base = static_cast<char*>(scratch);
  lay_out(rb, dy, db, base, lay_out(ra, dy, da, base, 0));
  visit_float(dy.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto run = [&](const View& d, bool wanted) {
      if (!d.given()) return;
      const auto walk = walk_over(d, dy, condition);
      if (walk.size)
        launch(where_gradient_kernel<T>, blocks_for(walk.size, THREADS, MOST_BLOCKS), THREADS, 0, stream(), dy.as<T>(),
               condition.as<bool>(), wanted, walk, d.as<T>());
    };
    run(ra.given ? ra.full : da, true);
    run(rb.given ? rb.full : db, false);
  });
  sum_repeated(ra, da);
  sum_repeated(rb, db);
}

}  // namespace nnfast
