// exp, log, tanh, ... on Vec<float> and Vec<double>, accurate to a few units in the last place (ULP) everywhere:
// zeros, infinities, NaN, subnormal arguments and results, huge arguments. tests/test_math.py holds each function, on
// every ISA, to the largest error in its comment. The polynomials are fitted by tools/fit_math.py.
#pragma once
#include "vec.h"

namespace nnfast::NNFAST_ISA {

template <class T>
struct Table;
template <>
struct Table<float> {
  // largest error 1.5e-08
  static constexpr float EXPM1[] = {0.5f, 0.166665331f, 0.0416664295f, 0.00836790353f, 0.00139385171f};
  // largest error 1.7e-09
  static constexpr float LOG[] = {0.666667819f, 0.39976874f, 0.298897952f};
  // largest error 1.3e-09
  static constexpr float ERF[] = {0.128379166f,   -0.376126289f,   0.11283619f,    -0.0268551745f,
                                  0.00519084465f, -0.00080318359f, 7.92413048e-05f};
  // largest error 1.3e-09
  static constexpr float ERFC[] = {-1.364941f,     -0.418159157f,    0.0762469098f,  -0.0164880399f,
                                   0.00354289543f, -0.000712733308f, 0.000185749275f};
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

// x = n ln 2 + r with |r| <= ln(2) / 2; gives e^r - 1.
template <class V>
INLINE V expm1_reduced(V x, BitsOf<V>& n) {
  using T = ElementOf<V>;
  const V whole = nearest(x * T(LOG2_E), n);
  const V r = x - whole * LN2_HIGH<T> - whole * LN2_LOW<T>;
  return r + r * r * polynomial(r, Table<T>::EXPM1);
}

// e^x, at most 1.1 ULP.
template <class V>
INLINE V exp(V x) {
  using T = ElementOf<V>;
  BitsOf<V> n;
  const V q = expm1_reduced(clamp(x, T(sizeof(T) == 4 ? -104 : -746), T(sizeof(T) == 4 ? 89 : 710)), n);
  return scale(q + T(1), n);
}

// e^x - 1, at most 2.3 ULP.
template <class V>
INLINE V expm1(V x) {
  using T = ElementOf<V>;
  BitsOf<V> n;
  const V q = expm1_reduced(clamp(x, T(-40), T(sizeof(T) == 4 ? 89 : 710)), n);
  const V half_power = (V)((UnsignedOf<V>)(n + (VecTraits<V>::BIAS - 1)) << VecTraits<V>::MANTISSA);  // 2^n / 2
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
  const BitsOf<V> root = bits_of(splat(T(0.70710678118654752))), one = bits_of(splat(T(1)));
  const BitsOf<V> from_root = bits_of(x) - root;  // its exponent field counts from sqrt(1/2)
  const BitsOf<V> field = (BitsOf<V>)((UnsignedOf<V>)(from_root + one) >> Tr::MANTISSA);
  e = to_float<V>(field - Tr::BIAS);
  const BitsOf<V> below = (BitsOf<V>)((UnsignedOf<V>)(field - Tr::BIAS) << Tr::MANTISSA);
  return from_bits<V>(bits_of(x) - below);
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

// tanh x = (1 - e^-2|x|) / (1 + e^-2|x|), at most 2.7 ULP.
template <class V>
INLINE V tanh(V x) {
  using T = ElementOf<V>;
  BitsOf<V> n;
  const V a = min_or_second(splat(T(20)), abs(x));  // tanh 20 rounds to 1
  const V q = expm1_reduced(T(-2) * a, n);
  const V power = (V)((UnsignedOf<V>)(n + VecTraits<V>::BIAS) << VecTraits<V>::MANTISSA);
  const V t = power * q + (power - T(1));  // e^-2|x| - 1
  return copysign(-t / (t + T(2)), x);
}

// 1 / (1 + e^-x), at most 2.4 ULP: e^-|x| does not overflow, and small results keep their digits.
template <class V>
INLINE V sigmoid(V x) {
  using T = ElementOf<V>;
  const V z = exp(-abs(x));
  return select(x < T(0), z, T(1)) / (z + T(1));
}

// erf x, at most 1.2 ULP: x + x p(x^2) up to 1, then 1 - e^(g(|x|) - x^2).
template <class V>
INLINE V erf(V x) {
  using T = ElementOf<V>;
  const V a = min_or_second(splat(T(sizeof(T) == 4 ? 4 : 6)), abs(x));  // beyond, erf rounds to 1
  const V far = T(1) - exp(polynomial(a - T(2), Table<T>::ERFC) - a * a);
  const V near = x + x * polynomial(x * x, Table<T>::ERF);
  return select(a < T(1), near, copysign(far, x));
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

}  // namespace nnfast::NNFAST_ISA
