// Attention, a block of queries at a time: their scores with all keys lie in scratch that the caches hold, and are gone
// when the next block comes. The gradient computes them again, which costs one product of five and saves B*H*T*S
// numbers. Batches and heads are worked on in parallel.
#include <algorithm>
#include <limits>

#include "../ops.h"
#include "kernels.h"
#include "parallel.h"

namespace nnfast {
namespace {

constexpr int64_t GROUPS = 16;             // pieces of scratch
constexpr int64_t BLOCK = 1 << 16;         // scores of a block
constexpr int64_t LEAST = 16, MOST = 256;  // rows of a block

View matrix(const View& like, void* data, int64_t rows, int64_t cols, int64_t row, int64_t col) {
  View v;
  v.data = data;
  v.ndim = 2;
  v.dtype = like.dtype;
  v.shape[0] = rows, v.shape[1] = cols;
  v.stride[0] = row, v.stride[1] = col;
  return v;
}
View transposed(View v) {
  std::swap(v.shape[0], v.shape[1]);
  std::swap(v.stride[0], v.stride[1]);
  return v;
}
// Rows [first, first + rows) of one head of x[B,rows,H,D].
template <class T>
View head_of(const View& x, int64_t b, int64_t h, int64_t first, int64_t rows) {
  return matrix(x, x.as<T>() + b * x.stride[0] + first * x.stride[1] + h * x.stride[2], rows, x.shape[3], x.stride[1],
                x.stride[3]);
}

struct Plan {
  int64_t B, T, H, D, S, E, rows, groups;
  explicit Plan(const AttentionOperands& o)
      : B(o.q.shape[0]),
        T(o.q.shape[1]),
        H(o.q.shape[2]),
        D(o.q.shape[3]),
        S(o.k.shape[1]),
        E(o.v.shape[3]),
        rows(std::clamp(BLOCK / std::max<int64_t>(S, 1), LEAST, MOST)),
        groups(std::min(B * H, GROUPS)) {
    rows = std::min(rows, std::max<int64_t>(T, 1));
  }
  int64_t grain() const { return groups ? (B * H + groups - 1) / groups : 1; }
  int64_t scores() const { return (rows * S + 15) / 16 * 16; }
};

// The most scratch that any product of any block needs, in bytes. A smaller product may need more: each size is asked.
size_t product_scratch(const AttentionOperands& o, const Plan& p, bool backward) {
  size_t most = 0;
  for (int64_t first = 0; first < p.T; first += p.rows) {
    const int64_t rows = std::min(p.rows, p.T - first), cols = o.causal ? std::min(p.S, first + rows) : p.S;
    const View q = matrix(o.q, nullptr, rows, p.D, p.D, 1), k = matrix(o.q, nullptr, cols, p.D, p.D, 1);
    const View v = matrix(o.q, nullptr, cols, p.E, p.E, 1), y = matrix(o.q, nullptr, rows, p.E, p.E, 1);
    const View s = matrix(o.q, nullptr, rows, cols, cols, 1);
    most = std::max({most, gemm_scratch(q, transposed(k), s), gemm_scratch(s, v, y)});
    if (!backward) continue;
    most = std::max({most, gemm_scratch(y, transposed(v), s), gemm_scratch(s, k, q)});
    most = std::max({most, gemm_scratch(transposed(s), q, k), gemm_scratch(transposed(s), y, v)});
  }
  return (most + 63) / 64 * 64;
}

template <class T>
class Head {
 public:
  Head(const AttentionOperands& o, const Plan& p, int64_t b, int64_t h, void* scratch)
      : o_(o), p_(p), b_(b), h_(h), scratch_(scratch) {}

  // Row i's scores with the first `cols` keys, where it meets any; after softmax.
  View probabilities(T* to, int64_t first, int64_t rows) const {
    const int64_t cols = columns(first, rows);
    const View s = matrix(o_.q, to, rows, cols, cols, 1);
    gemm(head_of<T>(o_.q, b_, h_, first, rows), transposed(head_of<T>(o_.k, b_, h_, 0, cols)), View{}, o_.scale, 0,
         Activation::linear, 0, o_.precision, s, scratch_);
    const auto& softmax = kernels().softmax.get<T>();
    for (int64_t i = 0; i < rows; ++i) {
      T* row = to + i * cols;
      const int64_t seen = o_.causal ? std::min(cols, first + i + 1) : cols;
      if (seen == 0 || !hide(row, first + i, seen)) {
        std::fill_n(row, cols, T(0));
        continue;
      }
      softmax.row[0](row, row, seen);
      std::fill_n(row + seen, cols - seen, T(0));
    }
    return s;
  }

  // to = dropout(from), rows of scores; in place is fine.
  void drop(const View& from, T* to, int64_t first) const {
    const int64_t cols = from.shape[1], step = (p_.S + 63) / 64 * 64;
    const T scale = o_.rate < 1 ? T(1 / (1 - o_.rate)) : T(0);
    for (int64_t i = 0; i < from.shape[0]; ++i)
      kernels().random.get<T>().dropout(o_.key, ((b_ * p_.H + h_) * p_.T + first + i) * step, cols,
                                        from.as<T>() + i * cols, to + i * cols, static_cast<float>(o_.rate), scale);
  }

  void product(const View& a, const View& b, double alpha, double beta, const View& y) const {
    gemm(a, b, View{}, alpha, beta, Activation::linear, 0, o_.precision, y, scratch_);
  }

 private:
  int64_t columns(int64_t first, int64_t rows) const { return o_.causal ? std::min(p_.S, first + rows) : p_.S; }

  // Masked scores become -Inf; false if nothing is left.
  bool hide(T* row, int64_t i, int64_t seen) const {
    if (!o_.mask.given()) return true;
    const bool* mask = o_.mask.as<bool>() + b_ * o_.mask.stride[0] + h_ * o_.mask.stride[1] + i * o_.mask.stride[2];
    bool any = false;
    for (int64_t j = 0; j < seen; ++j) {
      const bool on = mask[j * o_.mask.stride[3]];
      any |= on;
      if (!on) row[j] = -std::numeric_limits<T>::infinity();
    }
    return any;
  }

  const AttentionOperands& o_;
  const Plan& p_;
  const int64_t b_, h_;
  void* scratch_;
};

// work(head, b, h, scores): for each batch and head, with scratch for `blocks` blocks of scores.
template <class T, class Work>
void for_heads(const AttentionOperands& o, const Plan& p, int blocks, bool backward, void* scratch, const Work& work) {
  const int64_t block_bytes = blocks * p.scores() * static_cast<int64_t>(sizeof(T));
  const int64_t each = block_bytes + static_cast<int64_t>(product_scratch(o, p, backward)), grain = p.grain();
  parallel_for_flushed(p.B * p.H, grain, [&](int64_t begin, int64_t end) {
    char* at = static_cast<char*>(scratch) + begin / grain * each;
    for (int64_t n = begin; n < end; ++n)
      work(Head<T>(o, p, n / p.H, n % p.H, at + block_bytes), n / p.H, n % p.H, reinterpret_cast<T*>(at));
  });
}

size_t scratch_of(const AttentionOperands& o, int blocks, bool backward) {
  const Plan p(o);
  const size_t scores = static_cast<size_t>(blocks * p.scores() * size_of(o.q.dtype));
  return static_cast<size_t>(p.groups) * (scores + product_scratch(o, p, backward));
}

}  // namespace

size_t attention_scratch(const AttentionOperands& o) { return scratch_of(o, 1, false); }
size_t attention_gradient_scratch(const AttentionOperands& o) { return scratch_of(o, o.key ? 3 : 2, true); }

void attention(const AttentionOperands& o, const View& y, void* scratch) {
  const Plan p(o);
  visit_float(o.q.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    for_heads<T>(o, p, 1, false, scratch, [&](const Head<T>& head, int64_t b, int64_t h, T* scores) {
      for (int64_t i = 0; i < p.T; i += p.rows) {
        const int64_t rows = std::min(p.rows, p.T - i);
        const View s = head.probabilities(scores, i, rows);
        if (o.key) head.drop(s, scores, i);
        head.product(s, head_of<T>(o.v, b, h, 0, s.shape[1]), 1, 0, head_of<T>(y, b, h, i, rows));
      }
    });
  });
}

void attention_gradient(const View& dy, const AttentionOperands& o, const View& dq, const View& dk, const View& dv,
                        void* scratch) {
  const Plan p(o);
  full(0, dk);
  full(0, dv);
  visit_float(o.q.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    for_heads<T>(o, p, o.key ? 3 : 2, true, scratch, [&](const Head<T>& head, int64_t b, int64_t h, T* scores) {
      T *d = scores + p.scores(), *dropped = o.key ? d + p.scores() : scores;
      for (int64_t i = 0; i < p.T; i += p.rows) {
        const int64_t rows = std::min(p.rows, p.T - i);
        const View s = head.probabilities(scores, i, rows);
        const int64_t cols = s.shape[1];
        View ds = s, used = s;
        ds.data = d;
        used.data = dropped;
        const View dy_rows = head_of<T>(dy, b, h, i, rows);
        head.product(dy_rows, transposed(head_of<T>(o.v, b, h, 0, cols)), 1, 0, ds);
        if (o.key) {
          head.drop(s, dropped, i);
          head.drop(ds, d, i);
        }
        head.product(transposed(used), dy_rows, 1, 1, head_of<T>(dv, b, h, 0, cols));
        for (int64_t r = 0; r < rows; ++r)
          kernels().softmax.get<T>().row_gradient[0](d + r * cols, scores + r * cols, d + r * cols, cols);
        head.product(ds, head_of<T>(o.k, b, h, 0, cols), o.scale, 0, head_of<T>(dq, b, h, i, rows));
        head.product(transposed(ds), head_of<T>(o.q, b, h, i, rows), o.scale, 1, head_of<T>(dk, b, h, 0, cols));
      }
    });
  });
}

}  // namespace nnfast
