// exp, log, tanh, ... on Vec<float> and Vec<double>, accurate to a few units in the last place (ULP) everywhere:
// zeros, infinities, NaN, subnormal arguments and results, huge arguments. tests/test_math.py holds each function, on
// every ISA, to the largest error in its comment. The polynomials are fitted by tools/fit_math.py.
#pragma once
#include "vec.h"

namespace nnfast::NNFAST_ISA {

namespace {  // no weak symbols
template <class T>
struct Table;
template <>
struct Table<float> {
  // largest error 1.5e-08
  static constexpr float EXPM1[] = {0.5f, 0.166665331f, 0.0416664295f, 0.00836790353f, 0.00139385171f};
  // largest error 1.7e-09
  static constexpr float LOG[] = {0.666667819f, 0.39976874f, 0.298897952f};
  // largest error 2.3e-08
  static constexpr float TANH_TOP[] = {0, -0.0833332241f, -0.000967347645f, -6.48170655e-08f};
  static constexpr float TANH_BOTTOM[] = {1, 0.111606911f, 0.00104278908f};
  // largest error 3.3e-08
  static constexpr float ERF_TOP[] = {6.05739032e-08f, -0.0169530045f, -0.0219262987f, -0.00374300987f,
                                      -8.75038895e-05f};
  static constexpr float ERF_BOTTOM[] = {1, 0.250874698f, 0.0455338694f, 0.00518143689f, 7.61423144e-05f};
  // largest error 1.7e-07
  static constexpr float SIN_TURN[] = {6.28318548f, -41.3417587f, 81.6044693f, -75.8244476f};
  // largest error 4.7e-10
  static constexpr float COS_TURN[] = {1.00000000f, -19.7392082f, 64.9391708f, -85.4282913f, 58.7689095f};
};
template <>
struct Table<double> {
  // largest error 2.2e-17
  static constexpr double EXPM1[] = {0.50000000000000067,    0.16666666666666688,   0.041666666666558508,
                                     0.008333333333312808,   0.0013888888937650416, 0.00019841269907803873,
                                     2.4801497827540295e-05, 2.755722304045277e-06, 2.7629043681866633e-07,
                                     2.5116195543884214e-08};
  // largest error 2.7e-18
  static constexpr double LOG[] = {0.66666666666667396, 0.39999999999376989, 0.28571428751487316, 0.22222197570863564,
                                   0.18183619753277275, 0.15312552093866855, 0.14811703926915396};
  // largest error 1.8e-20
  static constexpr double LOG_TAIL[] = {0.39999999999999997, 0.28571428571433116, 0.22222222220345789,
                                        0.18181818539999275, 0.15384578401565066, 0.13335527284675294,
                                        0.11690105795693605, 0.11867697590039976};
  // largest error 1.3e-11
  static constexpr double POW_LOG2[] = {2.8853900817907729, 0.96179667243149858, 0.57708376712129905,
                                        0.41166133642274855, 0.34094835890119768};
  // largest error 1.9e-09
  static constexpr double POW_EXP2[] = {0.69314720660994789,   0.24022651251497204,   0.055503273430590500,
                                        0.0096180146261927810, 0.0013400395349219536, 0.00015473445969473027};
  // largest error 1.2e-17
  static constexpr double ERF[] = {0.12837916709551259,     -0.37612638903183881,    0.11283791670959031,
                                   -0.026866170645673915,   0.0052239776296171261,   -0.0008548327219011242,
                                   0.00012055338828402892,  -1.4925763223409452e-05, 1.6463475335645593e-06,
                                   -1.6374668631498936e-07, 1.481309865433067e-08,   -1.1931125456283645e-09,
                                   6.8514720678263509e-11};
  // largest error 6.9e-18
  static constexpr double ERFC[] = {-1.3649412646166361,     -0.41816080599441285,    0.076249158176055057,
                                    -0.016465118137401927,   0.0035707563478177594,   -0.00073239937791049164,
                                    0.00013530933084819293,  -2.0706470696357299e-05, 1.9521866744254124e-06,
                                    2.0372722912479084e-07,  -1.7317142691904413e-07, 5.769624409175194e-08,
                                    -1.3990184179416802e-08, 2.6095608247771762e-09,  -2.5680835084911042e-10,
                                    -7.1551509595104661e-11, 3.6610695215693869e-11,  -4.8620488485626461e-12};
  // largest error 2.4e-16
  static constexpr double SIN_TURN[] = {6.2831853071795862,  -41.341702240399187, 81.605249275685324,
                                        -76.705859636229775, 42.058675957568092,  -15.093158860295443,
                                        3.757581567320579,   0.33320573583967517};
  // largest error 3.2e-19
  static constexpr double COS_TURN[] = {1,
                                        -19.739208802178716,
                                        64.939394022666718,
                                        -85.456817205968576,
                                        60.244641206001553,
                                        -26.426235904366955,
                                        7.902064064535451,
                                        -1.6598365556949481,
                                        -0.54586451287919258};
};
}  // namespace

// 2^n = e^(n ln 2): ln 2 in two pieces, of which n times the first is exact.
template <class T>
constexpr T LN2_HIGH = T(sizeof(T) == 4 ? 0.693359375 : 6.93147180369123816490e-01);
template <class T>
constexpr T LN2_LOW = T(sizeof(T) == 4 ? -2.12194440054690583e-4 : 1.90821492927058770002e-10);
constexpr double LOG2_E = 1.4426950408889634;

// c[0] + c[1] x + c[2] x^2 + ...
template <class V, int N>
INLINE V polynomial(V x, const ElementOf<V> (&c)[N]) {
  V sum = splat(c[N - 1]);
  for (int i = N - 2; i >= 0; --i) sum = sum * x + c[i];
  return sum;
}

// x = n ln 2 + r with |r| <= ln(2) / 2; gives r, and n + MAGIC.
template <class V>
INLINE V reduce_by_ln2(V x, V& shifted) {
  using T = ElementOf<V>;
  shifted = x * T(LOG2_E) + MAGIC<V>;
  const V whole = shifted - MAGIC<V>;
  return x - whole * LN2_HIGH<T> - whole * LN2_LOW<T>;
}
// e^r - 1 for |r| <= ln(2) / 2.
template <class V>
INLINE V expm1_reduced(V r) {
  return r + r * r * polynomial(r, Table<ElementOf<V>>::EXPM1);
}
// Beyond these e^x is 0 and Inf.
template <class T>
constexpr T EXP_LOW = T(sizeof(T) == 4 ? -104 : -746);
template <class T>
constexpr T EXP_HIGH = T(sizeof(T) == 4 ? 89 : 710);

// e^x, at most 1.1 ULP.
template <class V>
INLINE V exp(V x) {
  using T = ElementOf<V>;
  V n;
  const V q = expm1_reduced(reduce_by_ln2(clamp(x, EXP_LOW<T>, EXP_HIGH<T>), n));
  return scale(q + T(1), n);
}
// The same for x <= 0.
template <class V>
INLINE V exp_below_1(V x) {
  V n;
  const V q = expm1_reduced(reduce_by_ln2(max_or_second(splat(EXP_LOW<ElementOf<V>>), x), n));
  return scale(q + ElementOf<V>(1), n);
}

// e^x - 1, at most 2.3 ULP.
template <class V>
INLINE V expm1(V x) {
  using T = ElementOf<V>;
  V n;
  const V q = expm1_reduced(reduce_by_ln2(clamp(x, T(-40), EXP_HIGH<T>), n));
  const V half_power = power_of_2(n - T(1));
  const V y = (half_power * q + (half_power - T(0.5))) * T(2);
  return select(abs(x) < T(1e-30), x, y);  // halving loses the last bit of a subnormal, and adding 0 the sign of -0
}

// log(2^e (1 + f) + what c adds: log(1 + x) = log(u) + c, where u = 1 + x was rounded), (sqrt(1/2) - 1) <= f <= sqrt(2)
// - 1. The way of FreeBSD's e_log.c: with s = f / (2 + f), log(1 + f) = 2 s + s R(s^2) = f - (f^2 / 2 - s (f^2 / 2 +
// R)), which keeps the digits of f.
template <class V>
INLINE V log_sum(V e, V f, V c) {
  using T = ElementOf<V>;
  const V s = f / (f + T(2)), z = s * s, half_square = T(0.5) * f * f;
  const V r = z * polynomial(z, Table<T>::LOG);
  return e * LN2_HIGH<T> - ((half_square - (s * (half_square + r) + (e * LN2_LOW<T> + c))) - f);
}
// x = 2^e m, sqrt(1/2) <= m < sqrt(2), for positive normal x; gives m.
template <class V>
INLINE V split_exponent(V x, V& e) {
  using T = ElementOf<V>;
  using Tr = VecTraits<V>;
  using U = UnsignedOf<V>;  // bits of NaN, Inf and negative numbers wrap round, which only unsigned ones may
  const U bits = (U)bits_of(x), root = (U)bits_of(splat(T(0.70710678118654752))), one = (U)bits_of(splat(T(1)));
  const U from_root = bits - root;  // its exponent field counts from sqrt(1/2)
  const BitsOf<V> exponent = (BitsOf<V>)((from_root + one) >> Tr::MANTISSA) - Tr::BIAS;
  e = to_float<V>(exponent);
  return from_bits<V>((BitsOf<V>)(bits - ((U)exponent << Tr::MANTISSA)));
}

// log x, at most 1 ULP; -Inf at 0, NaN below.
template <class V>
INLINE V log(V x) {
  using T = ElementOf<V>;
  constexpr int UP = VecTraits<V>::MANTISSA + 1;
  constexpr T SMALLEST = sizeof(T) == 4 ? T(1.17549435e-38) : T(2.2250738585072014e-308);
  const auto subnormal = x < SMALLEST;
  V e;
  const V m = split_exponent(select(subnormal, x * static_cast<T>(int64_t{1} << UP), x), e);
  const V y = log_sum(select(subnormal, e - T(UP), e), m - T(1), V{});
  // In one go: 0 gives -Inf, below gives NaN, +Inf and NaN stay.
  const V special = select(x == T(0), -T(__builtin_inf()), select(x < T(0), T(__builtin_nan("")), x));
  return select((x > T(0)) & (x < T(__builtin_inf())), y, special);
}

// log(1 + x), at most 1 ULP; -Inf at -1, NaN below.
template <class V>
INLINE V log1p(V x) {
  using T = ElementOf<V>;
  const V u = x + T(1);
  const V lost = select(x < T(1), x - (u - T(1)), T(1) - (u - x));  // what rounding u has lost
  V e;
  const V m = split_exponent(u, e);
  const V y = log_sum(e, m - T(1), lost / u);
  const V special = select(x == T(-1), -T(__builtin_inf()), select(x < T(-1), T(__builtin_nan("")), x));
  // where 1 + x rounds to 1 the result is x; that keeps -0 and subnormals
  return select((x > T(-1)) & (x < T(__builtin_inf())) & (u != T(1)), y, special);
}

// y = t / (1 + t^2 / 4), t = k x + x p(x^2) / q(x^2): an odd function that is 1 from `limit` on. t / 2 is tanh of half
// of what y is tanh of, so that errors of t vanish where y is near 1; near 0 that of k x alone counts.
template <class V, int N, int M>
INLINE V odd_rational(V x, ElementOf<V> limit, ElementOf<V> k, const ElementOf<V> (&p)[N], const ElementOf<V> (&q)[M]) {
  using T = ElementOf<V>;
  const V a = clamp(x, -limit, limit), z = a * a;
  const V t = a * k + a * (polynomial(z, p) / polynomial(z, q));
  const V w = t * t * T(-0.25) + T(0);  // + 0, so that -0 stays -0 below
  return t + t * (w / (T(1) - w));
}

// tanh x, at most 2.7 ULP. float32: a rational function. float64: (1 - e^-2|x|) / (1 + e^-2|x|).
template <class V>
INLINE V tanh(V x) {
  using T = ElementOf<V>;
  if constexpr (sizeof(T) == 4) {
    return odd_rational(x, T(9.6), T(1), Table<T>::TANH_TOP, Table<T>::TANH_BOTTOM);
  } else {
    V n;
    const V a = min_or_second(splat(T(20)), abs(x));  // tanh 20 rounds to 1
    const V q = expm1_reduced(reduce_by_ln2(T(-2) * a, n));
    const V power = power_of_2(n);
    const V t = power * q + (power - T(1));  // e^-2|x| - 1
    return copysign(-t / (t + T(2)), x);
  }
}

// 1 / (1 + e^-x), at most 2.4 ULP: e^-|x| does not overflow, and small results keep their digits.
template <class V>
INLINE V sigmoid(V x) {
  using T = ElementOf<V>;
  const V z = exp_below_1(-abs(x));
  return select(x < T(0), z, T(1)) / (z + T(1));
}

// erf x. float32: a rational function, at most 2.9 ULP. float64, at most 1.0 ULP with fused products, 1.3 without:
// x + x p(x^2) up to 1, then 1 - e^(g(|x|) - x^2).
template <class V>
INLINE V erf(V x) {
  using T = ElementOf<V>;
  if constexpr (sizeof(T) == 4) {
    return odd_rational(x, T(4.06), T(1.12837911), Table<T>::ERF_TOP, Table<T>::ERF_BOTTOM);
  } else {
    const V a = min_or_second(splat(T(6)), abs(x));  // beyond, erf rounds to 1
    const V far = T(1) - exp_below_1(polynomial(a - T(2), Table<T>::ERFC) - a * a);
    const V near = x + x * polynomial(x * x, Table<T>::ERF);
    return select(a < T(1), near, copysign(far, x));
  }
}

// sin and cos of 2 pi u, |u| < 2^20, at most 0.6 ULP of 1: u = k/4 + r exactly.
template <class V>
INLINE V sincos_turn(V u, V& cosine) {
  using T = ElementOf<V>;
  BitsOf<V> k;
  const V r = u - nearest(T(4) * u, k) * T(0.25), z = r * r;
  const V s = r * polynomial(z, Table<T>::SIN_TURN), c = polynomial(z, Table<T>::COS_TURN);
  const auto odd = (k & 1) != 0;
  const BitsOf<V> sign = bits_of(splat(T(-0.0)));
  cosine = from_bits<V>(bits_of(select(odd, s, c)) ^ select(((k + 1) & 2) != 0, sign, BitsOf<V>{}));
  return from_bits<V>(bits_of(select(odd, c, s)) ^ select((k & 2) != 0, sign, BitsOf<V>{}));
}

// ---- pow ----
// high + low: a number with twice the digits.
struct Pair {
  Vec<double> high, low;
};
INLINE Pair fast_sum(Vec<double> a, Vec<double> b) {  // |a| >= |b|, or a is 0
  const Vec<double> s = a + b;
  return {s, b - (s - a)};
}
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
INLINE Pair product(Vec<double> a, Vec<double> b) {
  const Vec<double> p = a * b;
  double x[LANES<double>], y[LANES<double>], z[LANES<double>];
  store(x, a), store(y, b), store(z, p);
  for (int i = 0; i < LANES<double>; ++i) z[i] = __builtin_fma(x[i], y[i], -z[i]);
  return {p, load(z)};
}
#else
INLINE Pair product(Vec<double> a, Vec<double> b) {  // T. J. Dekker, Numerische Mathematik 18 (1971)
  constexpr double SPLIT = 134217729;                // 2^27 + 1
  const Vec<double> p = a * b, at = a * SPLIT, bt = b * SPLIT;
  const Vec<double> ah = at - (at - a), bh = bt - (bt - b), al = a - ah, bl = b - bh;
  return {p, ((ah * bh - p) + ah * bl + al * bh) + al * bl};
}
#endif
INLINE Pair product(Pair a, Pair b) {
  const Pair p = product(a.high, b.high);
  return fast_sum(p.high, p.low + (a.high * b.low + a.low * b.high));
}

// log x for positive finite x, to about 2^-64 of itself: as in log_sum, but with pairs for all that counts.
INLINE Pair log_pair(Vec<double> x) {
  using V = Vec<double>;
  const auto subnormal = x < 2.2250738585072014e-308;
  V e;
  const V m = split_exponent(select(subnormal, x * 0x1p53, x), e);
  e = select(subnormal, e - 53.0, e);
  const V f = m - 1.0;
  const Pair d = fast_sum(splat(2.0), f);  // s = f / (2 + f)
  const V s_high = f / d.high;
  const Pair back = product(s_high, d.high);
  const Pair s = {s_high, (((f - back.high) - back.low) - s_high * d.low) / d.high};
  const Pair z = product(s, s);
  const Pair r = fast_sum(splat(2.0 / 3), z.high * polynomial(z.high, Table<double>::LOG_TAIL) + 0x1.5555555555555p-55);
  const Pair u = product(product(s, z), r);
  const Pair whole = fast_sum(e * LN2_HIGH<double>, 2.0 * s.high);
  const Pair most = fast_sum(whole.high, u.high);
  return fast_sum(most.high, most.low + (whole.low + (2.0 * s.low + (u.low + e * LN2_LOW<double>))));
}
// a^b for a >= 0, at most 1.2 ULP, wrong where both are special: pow() puts those right.
INLINE Vec<double> pow_positive(Vec<double> a, Vec<double> b) {
  using V = Vec<double>;
  const double inf = __builtin_inf();
  Pair l = log_pair(a);
  l.high = select((a > 0.0) & (a < inf), l.high, select(a == 0.0, -inf, a));
  Pair p = product(b, l.high);
  p.low = select(abs(p.high) < 750.0, p.low + b * l.low, 0.0);
  V n;
  const V r = reduce_by_ln2(clamp(p.high, EXP_LOW<double>, EXP_HIGH<double>), n) + p.low;
  return scale(expm1_reduced(r) + 1.0, n);
}
// a^b for positive finite a that was a float, to 2^-28 of itself; below 2^-160 and above 2^130 it stands still.
INLINE Vec<double> rough_pow(Vec<double> a, Vec<double> b) {
  using V = Vec<double>;
  V e;
  const V f = split_exponent(a, e) - 1.0, s = f / (f + 2.0);
  const V power = clamp(b * (e + s * polynomial(s * s, Table<double>::POW_LOG2)), -160.0, 130.0);
  const V shifted = power + MAGIC<V>, r = power - (shifted - MAGIC<V>);
  return power_of_2(shifted) * (r * polynomial(r, Table<double>::POW_EXP2) + 1.0);
}
// In float64, at most 0.55 ULP.
INLINE Vec<float> pow_positive(Vec<float> a, Vec<float> b) {
  typedef float Half __attribute__((vector_size(VECTOR_BYTES / 2)));
  Half base[2], exponent[2], power[2];
  __builtin_memcpy(base, &a, sizeof base);
  __builtin_memcpy(exponent, &b, sizeof exponent);
  for (int i = 0; i < 2; ++i) {
    const Vec<double> wide =
        rough_pow(__builtin_convertvector(base[i], Vec<double>), __builtin_convertvector(exponent[i], Vec<double>));
    power[i] = __builtin_convertvector(wide, Half);
  }
  Vec<float> y;
  __builtin_memcpy(&y, power, sizeof y);
  const float inf = __builtin_inff();
  const Vec<float> end = select((b < 0.0f) == (a == 0.0f), inf, splat(0.0f));  // of 0 and Inf
  return select((a > 0.0f) & (a < inf), y, select(is_nan(a), a, end));
}
// a^b by the rules of C: a^0 and 1^b are 1, even for NaN; a negative base needs an integer b.
template <class V>
INLINE V pow(V a, V b) {
  using T = ElementOf<V>;
  constexpr T UNIT = static_cast<T>(int64_t{1} << VecTraits<V>::MANTISSA);  // from here on there are no fractions
  const V size = abs(a), t = abs(b), half = t * T(0.5);
  const auto integral = (t >= UNIT) | ((t + UNIT) - UNIT == t);
  const auto odd = integral & (t < T(2) * UNIT) & ((half + UNIT) - UNIT != half);
  V y = pow_positive(size, b);
  y = select((size == T(1)) | (b == T(0)), T(1), y);
  y = from_bits<V>(bits_of(y) ^ (odd & sign_bits(a)));
  const auto no_result = (a < T(0)) & (size < T(__builtin_inf())) & ~integral;
  return select(no_result | (is_nan(b) & (a != T(1))), T(__builtin_nan("")), y);
}

// ---- formulas of ops ----
template <class V>
INLINE V sign(V x) {  // 0 at 0, NaN at NaN
  using T = ElementOf<V>;
  return select(x > T(0), T(1), select(x < T(0), T(-1), x));
}
template <class V>
INLINE V silu_slope(V x, V s) {  // s = sigmoid(x)
  using T = ElementOf<V>;
  return s * (x * (T(1) - s) + T(1));
}
// x times the normal distribution function of x; approximate != 0: through tanh (D. Hendrycks, K. Gimpel,
// arXiv:1606.08415).
template <class V>
INLINE V gelu(V x, ElementOf<V> approximate) {
  using T = ElementOf<V>;
  if (approximate != 0) return T(0.5) * x * (tanh(T(0.79788456080286536) * (x + T(0.044715) * (x * x * x))) + T(1));
  return T(0.5) * x * (erf(x * T(0.70710678118654752)) + T(1));
}
template <class V>
INLINE V gelu_slope(V x, ElementOf<V> approximate) {
  using T = ElementOf<V>;
  if (approximate != 0) {
    const V t = tanh(T(0.79788456080286536) * (x + T(0.044715) * (x * x * x)));
    const V inner = T(0.79788456080286536) * (T(3 * 0.044715) * (x * x) + T(1));
    return T(0.5) * (t + T(1)) + T(0.5) * x * (T(1) - t * t) * inner;
  }
  return T(0.5) * (erf(x * T(0.70710678118654752)) + T(1)) + T(0.39894228040143268) * (x * exp(T(-0.5) * (x * x)));
}

}  // namespace nnfast::NNFAST_ISA
