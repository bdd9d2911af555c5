// Element-wise ops: broadcasting turns any operands into contiguous blocks, and the ISA's kernel computes those.
// Subnormal numbers are kept.
#include <limits>

#include "../ops.h"
#include "broadcast.h"
#include "kernels.h"
#include "parallel.h"

namespace nnfast {
namespace {

constexpr int64_t GRAIN = 1 << 15;  // elements in a chunk of parallel work
constexpr int64_t ANY = std::numeric_limits<int64_t>::max();

// fn(n, p) on blocks of all operands; the first `outputs` are written, and the first of all has the shape of the loop.
template <class F, class... Views>
void run(int outputs, int64_t most, const F& fn, const Views&... operands) {
  const View* const list[] = {&operands...};
  const auto plan = plan_broadcast(*list[0], list, outputs, most);
  parallel_for(plan.size, GRAIN, [&](int64_t begin, int64_t end) { for_blocks(plan, begin, end, fn); });
}

template <class T>
T* at(char* p) {
  return reinterpret_cast<T*>(p);
}
}  // namespace

void unary(Unary op, const View& x, double p, double q, const View& y) {
  visit_float(x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto kernel = kernels().elementwise.get<T>().unary[static_cast<int>(op)];
    run(1, ANY, [=](int64_t n, char** v) { kernel(n, at<T>(v[1]), at<T>(v[0]), T(p), T(q)); }, y, x);
  });
}

void unary_gradient(Unary op, const View& dy, const View& saved, double p, double q, const View& dx) {
  visit_float(dy.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto kernel = kernels().elementwise.get<T>().unary_gradient[static_cast<int>(op)];
    run(
        1, ANY, [=](int64_t n, char** v) { kernel(n, at<T>(v[1]), at<T>(v[2]), at<T>(v[0]), T(p), T(q)); }, dx, dy,
        saved);
  });
}

void binary(Binary op, const View& a, const View& b, const View& y) {
  visit_float(a.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto kernel = kernels().elementwise.get<T>().binary[static_cast<int>(op)];
    run(1, ANY, [=](int64_t n, char** v) { kernel(n, at<T>(v[1]), at<T>(v[2]), at<T>(v[0])); }, y, a, b);
  });
}

void binary_gradient(Binary op, const View& dy, const View& a, const View& b, const View& da, const View& db) {
  visit_float(dy.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const ElementwiseKernels<T>& table = kernels().elementwise.get<T>();
    const auto for_a = table.gradient_a[static_cast<int>(op)], for_b = table.gradient_b[static_cast<int>(op)];
    if (da.given() && db.given()) {
      const auto both = [=](int64_t n, char** v) {
        for_a(n, at<T>(v[2]), at<T>(v[3]), at<T>(v[4]), at<T>(v[0]));
        for_b(n, at<T>(v[2]), at<T>(v[3]), at<T>(v[4]), at<T>(v[1]));
      };
      run(2, BUFFER_BYTES / int64_t{sizeof(T)}, both, da, db, dy, a, b);  // the second finds the operands in L1
    } else {
      const auto kernel = da.given() ? for_a : for_b;
      const auto one = [=](int64_t n, char** v) { kernel(n, at<T>(v[1]), at<T>(v[2]), at<T>(v[3]), at<T>(v[0])); };
      run(1, ANY, one, da.given() ? da : db, dy, a, b);
    }
  });
}

void compare(Comparison op, const View& a, const View& b, const View& y) {
  visit_float(a.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto kernel = kernels().elementwise.get<T>().comparison[static_cast<int>(op)];
    run(1, ANY, [=](int64_t n, char** v) { kernel(n, at<T>(v[1]), at<T>(v[2]), at<uint8_t>(v[0])); }, y, a, b);
  });
}

void where(const View& condition, const View& a, const View& b, const View& y) {
  visit_float(a.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto kernel = kernels().elementwise.get<T>().where;
    run(
        1, ANY, [=](int64_t n, char** v) { kernel(n, at<uint8_t>(v[1]), at<T>(v[2]), at<T>(v[3]), at<T>(v[0])); }, y,
        condition, a, b);
  });
}

}  // namespace nnfast
