// THE contract: every op that a device offers. No code.
// Shapes stand in the comments; [...] are batch dimensions. The gradient of `x` is `dx`. Views carry any strides: a
// transposed, sliced, reversed or repeated (stride 0) operand is an ordinary operand. An output never overlaps an
// input, unless the comment says so. Arguments have been checked by the binding; data is checked here, through Status.
// An absent operand is a View that is not given(). Scratch comes from the binding: `<op>_scratch` says how many bytes.
#pragma once
#include <cstddef>
#include <cstdint>

#include "view.h"

namespace nnfast {

// The activations that gemm and conv2d can apply to what they have just computed. All can be differentiated from
// their result alone, so nothing else is kept for the gradient.
enum class Activation : int { linear, relu, leaky_relu, elu, selu, sigmoid, tanh, softplus, exp };

// ---- gemm ----
// y[...,M,N] = activation(alpha * a[...,M,K] * b[...,K,N] + beta * y + bias[N]); beta == 0 never reads y; K == 0 gives
// activation(beta * y + bias). slope: of leaky_relu and elu.
void gemm(const View& a, const View& b, const View& bias, double alpha, double beta, Activation activation,
          double slope, const View& y, void* scratch);
size_t gemm_scratch(const View& a, const View& b, const View& y);

// ---- data movement ----
// Any dtypes and strides. Floats to integers truncate; anything but 0 is true.
void copy(const View& x, const View& y);                // y = x, of one shape
void cast(const View& x, double scale, const View& y);  // y = x * scale, in y's dtype; only a float is scaled
void full(double value, const View& y);                 // y, contiguous, = value

}  // namespace nnfast
