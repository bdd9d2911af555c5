// One step of the recurrent cells for one row of units: activations of the gates, the new state, and the way back. The
// gates lie side by side, n apart. Every function works on whole vectors and a masked tail, by the same formula.
#include "../../ops.h"
#include "../kernels.h"
#include "math.h"
#include "vec.h"

namespace nnfast::NNFAST_ISA {

template <class V>
INLINE V activate(V x, int activation) {
  switch (static_cast<Activation>(activation)) {
    case Activation::relu:
      return max_or_second(V{}, x);  // NaN stays
    case Activation::sigmoid:
      return sigmoid(x);
    case Activation::tanh:
      return tanh(x);
    default:
      return x;
  }
}

template <class V>
INLINE V slope_at(V y, int activation) {
  using T = ElementOf<V>;
  switch (static_cast<Activation>(activation)) {
    case Activation::relu:
      return select(y > T(0), splat(T(1)), V{});
    case Activation::sigmoid:
      return y * (T(1) - y);
    case Activation::tanh:
      return T(1) - y * y;
    default:
      return splat(T(1));
  }
}

// The pieces of a row of n: whole vectors, then one with fewer lanes.
template <class T>
struct Piece {
  ptrdiff_t at, lanes;
  __attribute__((always_inline)) inline Vec<T> get(const T* p) const {
    return lanes == LANES<T> ? load(p + at) : load_some(p + at, lanes);
  }
  __attribute__((always_inline)) inline void put(T* p, Vec<T> v) const {
    if (lanes == LANES<T>)
      store(p + at, v);
    else
      store_some(p + at, v, lanes);
  }
};
template <class T, class F>
INLINE void pieces(ptrdiff_t n, const F& f) {
  ptrdiff_t at = 0;
  for (; at + LANES<T> <= n; at += LANES<T>) f(Piece<T>{at, LANES<T>});
  if (at < n) f(Piece<T>{at, n - at});
}

template <class T>
static void simple(ptrdiff_t n, int act, T* z, T* h) {
  pieces<T>(n, [=](Piece<T> p) __attribute__((always_inline)) {
    const Vec<T> y = activate(p.get(z), act);
    p.put(z, y);
    p.put(h, y);
  });
}

template <class T>
static void simple_back(ptrdiff_t n, int act, const T* y, const T* dh, T* dz) {
  pieces<T>(n, [=](Piece<T> p) __attribute__((always_inline)) { p.put(dz, p.get(dh) * slope_at(p.get(y), act)); });
}

template <class T>
static void lstm(ptrdiff_t n, int act, int rec, T* z, T* cell, T* h) {
  pieces<T>(n, [=](Piece<T> p) __attribute__((always_inline)) {
    const Vec<T> i = activate(p.get(z), rec), f = activate(p.get(z + n), rec);
    const Vec<T> g = activate(p.get(z + 2 * n), act), o = activate(p.get(z + 3 * n), rec);
    const Vec<T> c = f * p.get(cell) + i * g;
    p.put(z, i);
    p.put(z + n, f);
    p.put(z + 2 * n, g);
    p.put(z + 3 * n, o);
    p.put(cell, c);
    p.put(h, o * activate(c, act));
  });
}

template <class T>
static void lstm_back(ptrdiff_t n, int act, int rec, const LstmBack<T>& b) {
  pieces<T>(n, [=](Piece<T> p) __attribute__((always_inline)) {
    const Vec<T> i = p.get(b.gates), f = p.get(b.gates + n), g = p.get(b.gates + 2 * n), o = p.get(b.gates + 3 * n);
    const Vec<T> y = activate(p.get(b.cell), act), d = p.get(b.dh);
    const Vec<T> through = p.get(b.dcell) + d * o * slope_at(y, act);
    const Vec<T> before = b.before ? p.get(b.before) : Vec<T>{};
    p.put(b.dz, through * g * slope_at(i, rec));
    p.put(b.dz + n, through * before * slope_at(f, rec));
    p.put(b.dz + 2 * n, through * i * slope_at(g, act));
    p.put(b.dz + 3 * n, d * y * slope_at(o, rec));
    p.put(b.dcell, through * f);
  });
}

template <class T>
static void gru_gates(ptrdiff_t n, int rec, T* z, const T* met, T* inner) {
  pieces<T>(n, [=](Piece<T> p) __attribute__((always_inline)) {
    const Vec<T> r = activate(p.get(z + n), rec);
    p.put(z, activate(p.get(z), rec));
    p.put(z + n, r);
    if (met) p.put(inner, r * p.get(met));
  });
}

template <class T>
static void gru(ptrdiff_t n, int act, T* z, const T* inner, T* h) {
  pieces<T>(n, [=](Piece<T> p) __attribute__((always_inline)) {
    Vec<T> sum = p.get(z + 2 * n);
    if (inner) sum += p.get(z + n) * p.get(inner);
    const Vec<T> y = activate(sum, act), keep = p.get(z);
    p.put(z + 2 * n, y);
    p.put(h, keep * p.get(h) + (T(1) - keep) * y);
  });
}

template <class T>
static void gru_back(ptrdiff_t n, int act, int rec, const GruBack<T>& b) {
  pieces<T>(n, [=](Piece<T> p) __attribute__((always_inline)) {
    const Vec<T> z = p.get(b.gates), r = p.get(b.gates + n), y = p.get(b.gates + 2 * n), d = p.get(b.dh);
    const Vec<T> dz = d * (p.get(b.before) - y) * slope_at(z, rec), dn = d * (T(1) - z) * slope_at(y, act);
    p.put(b.pass, d * z);
    p.put(b.dz, dz);
    p.put(b.dz + 2 * n, dn);
    if (b.dz_u) {
      const Vec<T> dr = dn * p.get(b.inner) * slope_at(r, rec);
      p.put(b.dz + n, dr);
      p.put(b.dz_u, dz);
      p.put(b.dz_u + n, dr);
      p.put(b.dz_u + 2 * n, dn * r);
    }
  });
}

template <class T>
static void gru_back_reset(ptrdiff_t n, int rec, const T* z, const T* met, T* dinner, T* dz) {
  pieces<T>(n, [=](Piece<T> p) __attribute__((always_inline)) {
    const Vec<T> r = p.get(z + n), d = p.get(dinner);
    p.put(dz + n, d * p.get(met) * slope_at(r, rec));
    p.put(dinner, d * r);
  });
}

template <class T>
static void multiply(ptrdiff_t n, const T* a, const T* b, T* y) {
  pieces<T>(n, [=](Piece<T> p) __attribute__((always_inline)) { p.put(y, b ? p.get(a) * p.get(b) : p.get(a)); });
}

template <class T>
static void gather(ptrdiff_t n, const T* dy, const T* pass, const T* back, const T* drop, T* dh) {
  pieces<T>(n, [=](Piece<T> p) __attribute__((always_inline)) {
    Vec<T> d = drop ? p.get(back) * p.get(drop) : p.get(back);
    d += p.get(pass);
    p.put(dh, dy ? d + p.get(dy) : d);
  });
}

extern const RecurrentKernels<float> recurrent_f32;
extern const RecurrentKernels<double> recurrent_f64;
#define KERNELS(T)                                                           \
  {simple<T>, simple_back<T>, lstm<T>,           lstm_back<T>, gru_gates<T>, \
   gru<T>,    gru_back<T>,    gru_back_reset<T>, multiply<T>,  gather<T>}
constinit const RecurrentKernels<float> recurrent_f32 = KERNELS(float);
constinit const RecurrentKernels<double> recurrent_f64 = KERNELS(double);
#undef KERNELS

}  // namespace nnfast::NNFAST_ISA
