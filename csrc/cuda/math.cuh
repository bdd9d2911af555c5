// The functions that elementwise_ops.inl uses, for one number on the device. Accuracy is that of the CUDA maths library
// (CUDA C++ Programming Guide, "Mathematical Functions": at most 2 ULP for those here, pow 9) and, in the emulator, of
// the C library. NaN is handled as NumPy does.
#pragma once
#include "common.cuh"

namespace nnfast {
namespace {

template <class T>
struct Same {
  using type = T;
};
template <class T>
__device__ inline T select(bool condition, T a, typename Same<T>::type b) {
  return condition ? a : b;
}
template <class T>
__device__ inline bool is_nan(T x) {
  return x != x;
}
template <class T>
__device__ inline T max(T a, T b) {  // NaN wins, unlike with CUDA's own max, which this hides
  return a > b || is_nan(a) ? a : b;
}
template <class T>
__device__ inline T min(T a, T b) {
  return a < b || is_nan(a) ? a : b;
}
template <class T>
__device__ inline T clamp(T x, T low, T high) {  // NaN stays
  return x < low ? low : x > high ? high : x;
}
template <class T>
__device__ inline T sign(T x) {
  return x > T(0) ? T(1) : x < T(0) ? T(-1) : x;
}

__device__ inline float abs(float x) { return ::fabsf(x); }
__device__ inline double abs(double x) { return ::fabs(x); }
__device__ inline float sqrt(float x) { return ::sqrtf(x); }
__device__ inline double sqrt(double x) { return ::sqrt(x); }
__device__ inline float exp(float x) { return ::expf(x); }
__device__ OUT_OF_LINE inline double exp(double x) { return ::exp(x); }
__device__ inline float expm1(float x) { return ::expm1f(x); }
__device__ OUT_OF_LINE inline double expm1(double x) { return ::expm1(x); }
__device__ inline float log(float x) { return ::logf(x); }
__device__ OUT_OF_LINE inline double log(double x) { return ::log(x); }
__device__ inline float log1p(float x) { return ::log1pf(x); }
__device__ OUT_OF_LINE inline double log1p(double x) { return ::log1p(x); }
__device__ inline float erf(float x) { return ::erff(x); }
__device__ OUT_OF_LINE inline double erf(double x) { return ::erf(x); }
__device__ inline float tanh(float x) { return ::tanhf(x); }
__device__ OUT_OF_LINE inline double tanh(double x) { return ::tanh(x); }
__device__ OUT_OF_LINE inline float pow(float a, float b) { return ::powf(a, b); }
__device__ OUT_OF_LINE inline double pow(double a, double b) { return ::pow(a, b); }

// 1 / (1 + e^-x): e^-|x| does not overflow, and small results keep their digits.
template <class T>
__device__ inline T sigmoid(T x) {
  const T z = exp(-abs(x));
  return (x < T(0) ? z : T(1)) / (z + T(1));
}
template <class T>
__device__ inline T silu_slope(T x, T s) {  // s = sigmoid(x)
  return s * (x * (T(1) - s) + T(1));
}
// x times the normal distribution function of x; approximate != 0: through tanh (D. Hendrycks, K. Gimpel,
// arXiv:1606.08415).
template <class T>
__device__ inline T gelu(T x, T approximate) {
  if (approximate != T(0)) return T(0.5) * x * (tanh(T(0.79788456080286536) * (x + T(0.044715) * (x * x * x))) + T(1));
  return T(0.5) * x * (erf(x * T(0.70710678118654752)) + T(1));
}
template <class T>
__device__ inline T gelu_slope(T x, T approximate) {
  if (approximate != T(0)) {
    const T t = tanh(T(0.79788456080286536) * (x + T(0.044715) * (x * x * x)));
    const T inner = T(0.79788456080286536) * (T(3 * 0.044715) * (x * x) + T(1));
    return T(0.5) * (t + T(1)) + T(0.5) * x * (T(1) - t * t) * inner;
  }
  return T(0.5) * (erf(x * T(0.70710678118654752)) + T(1)) + T(0.39894228040143268) * (x * exp(T(-0.5) * (x * x)));
}

// The activations that gemm and conv2d apply to what they have just computed, and their slopes from the result.
// Not inlined: a kernel that finishes 64 elements per thread would hold 64 copies of each formula.

template <class T>
__device__ OUT_OF_LINE T slope_from_result(Activation activation, T y, T slope) {
  switch (activation) {
    case Activation::relu:
      return y > T(0) ? T(1) : T(0);
    case Activation::leaky_relu:
      return y > T(0) ? T(1) : slope;
    case Activation::elu:
      return y > T(0) ? T(1) : y + slope;
    case Activation::selu:
      return y > T(0) ? T(1.0507009873554805) : y + T(1.7580993408473766);
    case Activation::sigmoid:
      return y * (T(1) - y);
    case Activation::tanh:
      return T(1) - y * y;
    case Activation::softplus:
      return -expm1(-y);
    case Activation::exp:
      return y;
    default:
      return T(1);
  }
}
template <class T>
__device__ OUT_OF_LINE T activate_rare(Activation activation, T x, T slope) {
  switch (activation) {
    case Activation::leaky_relu:
      return x > T(0) ? x : slope * x;
    case Activation::elu:
      return x > T(0) ? x : slope * expm1(x);
    case Activation::selu:
      return T(1.0507009873554805) * (x > T(0) ? x : T(1.6732632423543772) * expm1(x));
    case Activation::sigmoid:
      return sigmoid(x);
    case Activation::tanh:
      return tanh(x);
    case Activation::softplus:
      return (x > T(0) ? x : T(0)) + log1p(exp(-abs(x)));
    case Activation::exp:
      return exp(x);
    default:
      return x;
  }
}
template <class T>
__device__ inline T activate(Activation activation, T x, T slope) {
  if (activation == Activation::linear) return x;
  if (activation == Activation::relu) return x <= T(0) ? T(0) : x;
  return activate_rare(activation, x, slope);
}

}  // namespace
}  // namespace nnfast
