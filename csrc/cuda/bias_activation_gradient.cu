// Backwards through bias and activation: dz = dy * activation'(from y) element by element, then db, the sum of dz over
// all axes but one, by `reduce`. dz is contiguous and may not overlap dy or y.
#include "map.cuh"
#include "math.cuh"

namespace nnfast {
namespace {
template <class T>
struct TimesSlope {
  Activation activation;
  T slope;
  template <int N>
  __device__ void operator()(const Several<T, N> (&x)[2], Several<T, N>& dz) const {
    if (activation == Activation::relu)
      each([](T dy, T y) { return y > T(0) ? dy : dy * T(0); }, x, dz);
    else
      each([this](T dy, T y) { return dy * slope_from_result(activation, y, slope); }, x, dz);
  }
};
uint32_t all_but(const View& v, int axis) { return ((1u << v.ndim) - 1) & ~(1u << axis); }
}  // namespace

size_t bias_activation_gradient_scratch(const View& dy, int axis) {
  const size_t of_dy = reduce_scratch(dy, all_but(dy, axis), Reduction::sum);
  const size_t of_dz = reduce_scratch(dy.dense(nullptr), all_but(dy, axis), Reduction::sum);
  return of_dy > of_dz ? of_dy : of_dz;
}

void bias_activation_gradient(const View& dy, const View& y, Activation activation, double slope, int axis,
                              const View& dz, const View& db, void* scratch) {
  if (dz.given())
    visit_float(dy.dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      map<T, T>(TimesSlope<T>{activation, T(slope)}, dz, dy, y);
    });
  if (db.given()) reduce(dz.given() ? dz : dy, all_but(dy, axis), Reduction::sum, db, scratch);
}

}  // namespace nnfast
