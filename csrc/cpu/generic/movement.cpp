// Conversion of n neighbours of any dtype to float, times a scale: to[n] = scale * from[n].
#include "../../view.h"
#include "../kernels.h"
#include "vec.h"

namespace nnfast::NNFAST_ISA {

template <class From, class T>
static void convert_from(const void* from, T* to, ptrdiff_t n, T scale) {
  const From* x = static_cast<const From*>(from);
  for (ptrdiff_t i = 0; i < n; ++i) to[i] = static_cast<T>(x[i]) * scale;
}

template <class T>
static void convert(int dtype, const void* from, T* to, ptrdiff_t n, double scale) {
  const T s = static_cast<T>(scale);
  switch (static_cast<DType>(dtype)) {
    case DType::int8:
      return convert_from<int8_t>(from, to, n, s);
    case DType::boolean:  // a byte, 0 or 1
    case DType::uint8:
      return convert_from<uint8_t>(from, to, n, s);
    case DType::int16:
      return convert_from<int16_t>(from, to, n, s);
    case DType::uint16:
      return convert_from<uint16_t>(from, to, n, s);
    case DType::int32:
      return convert_from<int32_t>(from, to, n, s);
    case DType::uint32:
      return convert_from<uint32_t>(from, to, n, s);
    case DType::int64:
      return convert_from<int64_t>(from, to, n, s);
    case DType::uint64:
      return convert_from<uint64_t>(from, to, n, s);
    case DType::float64:
      return convert_from<double>(from, to, n, s);
    default:
      return convert_from<float>(from, to, n, s);
  }
}

extern const MovementKernels<float> movement_f32;
extern const MovementKernels<double> movement_f64;
constinit const MovementKernels<float> movement_f32 = {convert<float>};
constinit const MovementKernels<double> movement_f64 = {convert<double>};

}  // namespace nnfast::NNFAST_ISA
