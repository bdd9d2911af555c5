// require(cond, "[op] ...", value, ...): the checks of arguments, with the message made only when one fails.
// Bindings include it, kernels do not: they trust.
#pragma once
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

#include "view.h"

namespace nnfast {

inline const char* name_of(DType d) {
  constexpr const char* names[] = {"bool",  "int8",   "uint8",   "int16",    "uint16",  "int32",  "uint32",
                                   "int64", "uint64", "float16", "bfloat16", "float32", "float64"};
  return names[static_cast<int>(d)];
}

template <class Sizes>
std::string shape_text(const Sizes& sizes, size_t n) {
  std::string s = "(";
  for (size_t i = 0; i < n; ++i) s += (i ? ", " : "") + std::to_string(sizes[i]);
  return s + (n == 1 ? ",)" : ")");
}

template <class T>
std::string text(const T& part) {
  if constexpr (std::is_same_v<T, View>)
    return shape_text(part.shape, static_cast<size_t>(part.ndim));
  else if constexpr (std::is_same_v<T, DType>)
    return name_of(part);
  else if constexpr (std::is_arithmetic_v<T>)
    return std::to_string(part);
  else
    return std::string(std::string_view(part));
}

// The three kinds of wrong argument: ValueError, TypeError (thrown by the binding), IndexError.
template <class Error = std::invalid_argument, class... Parts>
void require(bool holds, const Parts&... parts) {
  if (holds) return;
  std::string message;
  ((message += text(parts)), ...);
  throw Error(message);
}

}  // namespace nnfast
