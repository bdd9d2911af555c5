// Element-wise ops: broadcasting turns any operands into contiguous blocks, and the ISA's kernel computes those.
// Subnormal numbers are kept.
#include <algorithm>
#include <limits>

#include "../ops.h"
#include "broadcast.h"
#include "kernels.h"
#include "parallel.h"

namespace nnfast {
namespace {

constexpr int64_t GRAIN = 1 << 15;  // elements in a chunk of parallel work
constexpr int64_t ANY = std::numeric_limits<int64_t>::max();

// fn(stretch) on blocks of all operands; the first `outputs` are written, and the first of all has the shape of the
// loop.
template <class F, class... Views>
void run(int outputs, int64_t most, const F& fn, const Views&... operands) {
  const View* const list[] = {&operands...};
  const auto plan = plan_broadcast(*list[0], list, outputs, most);
  parallel_for(plan.size, GRAIN, [&](int64_t begin, int64_t end) { for_blocks(plan, begin, end, fn); });
}
}  // namespace

void unary(Unary op, const View& x, double p, double q, const View& y) {
  visit_float(x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto kernel = kernels().elementwise.get<T>().unary[static_cast<int>(op)];
    run(1, ANY, [=](const Stretch& v) { kernel(v.n, v.in<T>(1), v.out<T>(0), T(p), T(q)); }, y, x);
  });
}

void unary_gradient(Unary op, const View& dy, const View& saved, double p, double q, const View& dx) {
  visit_float(dy.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto kernel = kernels().elementwise.get<T>().unary_gradient[static_cast<int>(op)];
    run(1, ANY, [=](const Stretch& v) { kernel(v.n, v.in<T>(1), v.in<T>(2), v.out<T>(0), T(p), T(q)); }, dx, dy, saved);
  });
}

void binary(Binary op, const View& a, const View& b, const View& y) {
  visit_float(a.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto kernel = kernels().elementwise.get<T>().binary[static_cast<int>(op)];
    run(1, ANY, [=](const Stretch& v) { kernel(v.n, v.in<T>(1), v.in<T>(2), v.out<T>(0)); }, y, a, b);
  });
}

namespace {
// da and db, each absent or of the shape of dy.
void full_gradient(Binary op, const View& dy, const View& a, const View& b, const View& da, const View& db) {
  visit_float(dy.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const ElementwiseKernels<T>& table = kernels().elementwise.get<T>();
    const auto for_a = table.gradient_a[static_cast<int>(op)], for_b = table.gradient_b[static_cast<int>(op)];
    if (da.given() && db.given()) {
      const auto both = [=](const Stretch& v) {
        for_a(v.n, v.in<T>(2), v.in<T>(3), v.in<T>(4), v.out<T>(0));
        for_b(v.n, v.in<T>(2), v.in<T>(3), v.in<T>(4), v.out<T>(1));
      };
      run(2, BUFFER_BYTES / int64_t{sizeof(T)}, both, da, db, dy, a, b);  // the second finds the operands in L1
    } else {
      const auto kernel = da.given() ? for_a : for_b;
      const auto one = [=](const Stretch& v) { kernel(v.n, v.in<T>(1), v.in<T>(2), v.in<T>(3), v.out<T>(0)); };
      run(1, ANY, one, da.given() ? da : db, dy, a, b);
    }
  });
}

View contiguous_view(void* data, DType dtype, int ndim, const int64_t* shape) {
  View v;
  v.data = data;
  v.dtype = dtype;
  v.ndim = static_cast<int8_t>(ndim);
  int64_t step = 1;
  for (int i = ndim - 1; i >= 0; --i) {
    v.shape[i] = shape[i];
    v.stride[i] = step;
    step *= shape[i];
  }
  return v;
}

// Rows [begin, begin + n) of axis 0 of a result of `ndim` dimensions; an operand without that axis stays whole.
bool has_rows(const View& v, const View& dy) { return dy.ndim > 0 && v.ndim == dy.ndim && v.shape[0] == dy.shape[0]; }
View rows_of(View v, const View& dy, int64_t begin, int64_t n) {
  if (!v.given() || !has_rows(v, dy)) return v;
  v.data = v.as<char>() + begin * v.stride[0] * size_of(v.dtype);
  v.shape[0] = n;
  return v;
}

// The gradient of a repeated operand is made slab by slab (some rows of dy) in scratch that stays in the L2 cache, and
// each slab is summed at once: into its rows of the result, or, where the rows are summed too, into a row of partial
// sums.
struct Repeated {
  View result;
  uint32_t axes = 0;  // of dy, to be summed
  bool partial = false;
  char *full = nullptr, *sums = nullptr, *scratch = nullptr;
};
struct Slabs {
  int64_t rows, count;  // rows of axis 0 in a slab
};
constexpr int64_t SLAB = 1 << 16;  // elements

Slabs slabs_of(const View& dy) {
  if (dy.ndim == 0 || dy.size() <= SLAB) return {dy.ndim ? dy.shape[0] : 1, 1};
  const int64_t rows = std::max<int64_t>(1, SLAB / (dy.size() / dy.shape[0]));
  return {rows, (dy.shape[0] + rows - 1) / rows};
}
View slab_view(const View& dy, void* data, int64_t rows) {
  int64_t shape[MAX_DIMS];
  for (int i = 0; i < dy.ndim; ++i) shape[i] = i ? dy.shape[i] : rows;
  return contiguous_view(data, dy.dtype, dy.ndim, shape);
}
bool repeated(const View& operand, const View& dy) {
  return operand.ndim != dy.ndim || !std::equal(dy.shape, dy.shape + dy.ndim, operand.shape);
}

// Lays the scratch of one operand out from `from` bytes on; gives where it ends. Without a base it only measures.
int64_t lay_out(Repeated& r, const View& dy, const View& result, char* base, int64_t from) {
  if (!result.given() || !repeated(result, dy)) return from;
  const Slabs slabs = slabs_of(dy);
  r.result = result;
  for (int i = 0; i < dy.ndim; ++i) {
    const int at = i - (dy.ndim - result.ndim);
    if (at < 0 || result.shape[at] != dy.shape[i]) r.axes |= 1u << i;
  }
  r.partial = slabs.count > 1 && !has_rows(result, dy);
  const int64_t shape[] = {slabs.count, result.size()};
  const View slab = slab_view(dy, nullptr, slabs.rows), sums = contiguous_view(nullptr, dy.dtype, 2, shape);
  size_t scratch = reduce_scratch(slab, r.axes, Reduction::sum);
  if (slabs.count > 1) {  // the last slab may be thinner
    const View rest = slab_view(dy, nullptr, dy.shape[0] - (slabs.count - 1) * slabs.rows);
    scratch = std::max(scratch, reduce_scratch(rest, r.axes, Reduction::sum));
  }
  if (r.partial) scratch = std::max(scratch, reduce_scratch(sums, 1, Reduction::sum));
  const auto take = [&](int64_t bytes) {
    char* const p = base ? base + from : nullptr;
    from += (bytes + 63) / 64 * 64;
    return p;
  };
  r.full = take(slab.size() * size_of(dy.dtype));
  r.sums = take(r.partial ? sums.size() * size_of(dy.dtype) : 0);
  r.scratch = take(static_cast<int64_t>(scratch));
  return from;
}

void sum_slab(const Repeated& r, const View& dy, int64_t slab, int64_t begin, int64_t rows) {
  if (!r.result.given()) return;
  View to = rows_of(r.result, dy, begin, rows);
  if (r.partial) to.data = r.sums + slab * r.result.size() * size_of(dy.dtype);
  reduce(slab_view(dy, r.full, rows), r.axes, Reduction::sum, to, r.scratch);
}
void sum_sums(const Repeated& r, int64_t slabs) {
  if (!r.partial) return;
  const int64_t shape[] = {slabs, r.result.size()};
  reduce(contiguous_view(r.sums, r.result.dtype, 2, shape), 1, Reduction::sum, r.result, r.scratch);
}
}  // namespace

size_t binary_gradient_scratch(const View& dy, const View& da, const View& db) {
  Repeated a, b;
  return static_cast<size_t>(lay_out(b, dy, db, nullptr, lay_out(a, dy, da, nullptr, 0)));
}

template <class Full>
static void reduced_gradient(const View& dy, const View& da, const View& db, void* scratch, const Full& full) {
  Repeated ra, rb;
  char* const base = static_cast<char*>(scratch);
  lay_out(rb, dy, db, base, lay_out(ra, dy, da, base, 0));
  const Slabs slabs = ra.result.given() || rb.result.given() ? slabs_of(dy) : Slabs{dy.ndim ? dy.shape[0] : 1, 1};
  for (int64_t slab = 0; slab < slabs.count; ++slab) {
    const int64_t begin = slab * slabs.rows, rows = std::min(slabs.rows, (dy.ndim ? dy.shape[0] : 1) - begin);
    const View slab_a = ra.result.given() ? slab_view(dy, ra.full, rows) : rows_of(da, dy, begin, rows);
    const View slab_b = rb.result.given() ? slab_view(dy, rb.full, rows) : rows_of(db, dy, begin, rows);
    full(begin, rows, slab_a, slab_b);
    sum_slab(ra, dy, slab, begin, rows);
    sum_slab(rb, dy, slab, begin, rows);
  }
  sum_sums(ra, slabs.count);
  sum_sums(rb, slabs.count);
}

void binary_gradient(Binary op, const View& dy, const View& a, const View& b, const View& da, const View& db,
                     void* scratch) {
  reduced_gradient(dy, da, db, scratch, [&](int64_t begin, int64_t rows, const View& slab_a, const View& slab_b) {
    full_gradient(op, rows_of(dy, dy, begin, rows), rows_of(a, dy, begin, rows), rows_of(b, dy, begin, rows), slab_a,
                  slab_b);
  });
}

void where_gradient(const View& dy, const View& condition, const View& da, const View& db, void* scratch) {
  static constexpr double ZERO = 0;  // also the bits of 0.0f
  View zero;
  zero.data = const_cast<double*>(&ZERO);
  zero.ndim = 0;
  zero.dtype = dy.dtype;
  reduced_gradient(dy, da, db, scratch, [&](int64_t begin, int64_t rows, const View& slab_a, const View& slab_b) {
    const View slab = rows_of(dy, dy, begin, rows), holds = rows_of(condition, dy, begin, rows);
    if (slab_a.given()) where(holds, slab, zero, slab_a);
    if (slab_b.given()) where(holds, zero, slab, slab_b);
  });
}

void compare(Comparison op, const View& a, const View& b, const View& y) {
  visit_float(a.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto kernel = kernels().elementwise.get<T>().comparison[static_cast<int>(op)];
    run(1, ANY, [=](const Stretch& v) { kernel(v.n, v.in<T>(1), v.in<T>(2), v.out<uint8_t>(0)); }, y, a, b);
  });
}

void where(const View& condition, const View& a, const View& b, const View& y) {
  visit_float(a.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto kernel = kernels().elementwise.get<T>().where;
    run(
        1, ANY, [=](const Stretch& v) { kernel(v.n, v.in<uint8_t>(1), v.in<T>(2), v.in<T>(3), v.out<T>(0)); }, y,
        condition, a, b);
  });
}

}  // namespace nnfast
