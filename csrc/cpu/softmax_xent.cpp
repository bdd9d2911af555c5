// softmax_xent: the labels are checked first, then blocks of rows go through softmax, loss and gradient while they are
// in the cache.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>

#include "../ops.h"
#include "kernels.h"
#include "parallel.h"
#include "status.h"

namespace nnfast {
namespace {

constexpr int64_t PER_THREAD = 1 << 13;  // logits that are worth waking a thread for

// Scratch: per row the label, the loss, and, for rows of probabilities, their sum and weight; then the copies of logits
// and labels that are not rows in memory.
struct Scratch {
  int64_t* label;
  double* loss;
  char* copies;
};
bool in_rows(const View& v) { return v.shape[1] == 1 || v.stride[1] == 1; }
int64_t item(const View& v) { return v.dtype == DType::float64 ? 8 : 4; }
Scratch divide(const View& logits, void* scratch) {
  auto* label = static_cast<int64_t*>(scratch);
  auto* loss = reinterpret_cast<double*>(label + logits.shape[0]);
  return {label, loss, reinterpret_cast<char*>(loss + logits.shape[0])};
}
// v as rows in memory: itself or a copy.
View as_rows(const View& v, char*& room) {
  if (in_rows(v)) return v;
  View dense = v;
  dense.data = room;
  dense.stride[0] = v.shape[0] == 1 ? 0 : v.shape[1];
  dense.stride[1] = 1;
  copy(v, dense);
  room += v.size() * item(v);
  return dense;
}

// The label of each row, or -1 where it is ignored. A label that is no class is reported, and becomes class 0.
// Gives the number of rows that count.
template <class L>
int64_t check_labels(const View& labels, int64_t classes, const IgnoreClass& ignore, int64_t* to, Status* status) {
  int64_t counted = 0;
  for (int64_t i = 0; i < labels.shape[0]; ++i) {
    const L value = labels.as<L>()[i * labels.stride[0]];
    bool good;
    if constexpr (std::is_floating_point_v<L>)
      good = value >= 0 && value < static_cast<L>(classes) && value == std::floor(value);
    else
      good = value >= L(0) && static_cast<uint64_t>(value) < static_cast<uint64_t>(classes);
    bool ignored = false;
    if (ignore.given) {
      if constexpr (std::is_floating_point_v<L>)
        ignored = value == static_cast<L>(ignore.value);
      else
        ignored = static_cast<int64_t>(value) == ignore.value && (ignore.value < 0) == (value < L(0));
    }
    if (!good && !ignored && status->code == OK) {
      constexpr bool is_float = std::is_floating_point_v<L>;
      if (is_float || (std::is_unsigned_v<L> && static_cast<uint64_t>(value) >> 63)) {  // or beyond int64
        const auto number = static_cast<double>(value);
        int64_t bits;
        std::memcpy(&bits, &number, sizeof bits);
        report(status, BAD_LABEL_FLOAT, i, bits);
      } else {
        report(status, BAD_LABEL, i, static_cast<int64_t>(value));
      }
    }
    counted += !ignored;
    to[i] = ignored ? -1 : good ? static_cast<int64_t>(value) : 0;
  }
  return counted;
}

// One row of probabilities: its label (the first largest), sum, weight, and whether it is one.
template <class T>
bool check_row(const T* row, int64_t n, const View& class_weight, int64_t& label, T& total, T& weight) {
  const ReduceKernels<T>& k = kernels().reduce.get<T>();
  const T top = k.run[MAX](row, n, T(0));
  const bool good = k.run[MIN](row, n, T(0)) >= 0 && std::isfinite(top);
  label = good ? k.find(row, n, top) : 0;
  total = k.run[SUM](row, n, T(0));
  if (class_weight.given()) {
    double sum = 0;
    for (int64_t c = 0; c < n; ++c) sum += double(row[c]) * class_weight.as<T>()[c * class_weight.stride[0]];
    weight = T(sum);
  }
  return good;
}

template <class T>
void report_row(const T* row, int64_t n, int64_t sample, Status* status) {
  for (int64_t c = 0; c < n; ++c)
    if (!(row[c] >= 0 && std::isfinite(row[c]))) {
      const auto number = static_cast<double>(row[c]);
      int64_t bits;
      std::memcpy(&bits, &number, sizeof bits);
      return report(status, BAD_LABEL_ROW, sample, bits);
    }
}

template <class T>
void xent(const XentOperands& o, const XentResults& to, void* scratch, Status* status) {
  const int64_t N = o.logits.shape[0], C = o.logits.shape[1];
  auto [label, loss, room] = divide(o.logits, scratch);
  const bool soft = o.labels.ndim == 2;
  const View x = as_rows(o.logits, room), rows = soft ? as_rows(o.labels, room) : o.labels;
  int64_t counted = N;
  if (!soft)
    counted = visit_dtype(o.labels.dtype, [&, label = label](auto tag) {
      return check_labels<typename decltype(tag)::type>(o.labels, C, o.ignore, label, status);
    });
  const double scale = o.reduction != LossReduction::mean ? 1.0 : counted ? 1.0 / static_cast<double>(counted) : 0.0;
  const auto keep = T(1 - o.label_smoothing), spread = T(o.label_smoothing / static_cast<double>(C));
  Lowest bad;
  std::atomic<int64_t> correct{0};
  const int64_t block = std::clamp<int64_t>(PER_THREAD / std::max<int64_t>(1, C), 1, XENT_ROWS);
  const int64_t blocks = (N + block - 1) / block;
  parallel_for_flushed(
      blocks, std::max<int64_t>(1, PER_THREAD / (block * std::max<int64_t>(1, C))),
      [&, label = label, loss = loss](int64_t begin, int64_t end) {
        T weight[XENT_ROWS], total[XENT_ROWS], losses[XENT_ROWS];
        for (int64_t b = begin; b < end; ++b) {
          const int64_t first = b * block, count = std::min(block, N - first);
          for (int64_t i = 0; i < count; ++i) {
            const int64_t r = first + i;
            weight[i] = 1;
            if (soft) {
              if (!check_row(rows.as<T>() + r * rows.stride[0], C, o.class_weight, label[r], total[i], weight[i]))
                bad.add(r);
            } else if (o.class_weight.given() && label[r] >= 0) {
              weight[i] = o.class_weight.as<T>()[label[r] * o.class_weight.stride[0]];
            }
            if (o.sample_weight.given()) weight[i] *= o.sample_weight.as<T>()[r * o.sample_weight.stride[0]];
          }
          const XentRows<T> q{count,
                              C,
                              x.as<T>() + first * x.stride[0],
                              x.stride[0],
                              soft ? rows.as<T>() + first * rows.stride[0] : nullptr,
                              rows.stride[0],
                              label + first,
                              weight,
                              total,
                              keep,
                              spread,
                              T(scale),
                              to.dlogits.given() ? to.dlogits.as<T>() + first * C : nullptr,
                              losses};
          correct.fetch_add(kernels().softmax.get<T>().xent(q), std::memory_order_relaxed);
          for (int64_t i = 0; i < count; ++i) loss[first + i] = losses[i];
        }
      });
  if (bad.found()) report_row(rows.as<T>() + bad.at() * rows.stride[0], C, bad.at(), status);
  *to.correct.as<int64_t>() = correct;
  if (o.reduction == LossReduction::none) {
    for (int64_t r = 0; r < N; ++r) to.loss.as<T>()[r] = T(loss[r]);
  } else {
    double sum = 0;
    for (int64_t r = 0; r < N; ++r) sum += loss[r];
    *to.loss.as<T>() = T(sum * scale);
  }
}
}  // namespace

size_t softmax_xent_scratch(const XentOperands& o) {
  int64_t bytes = o.logits.shape[0] * 16;
  if (!in_rows(o.logits)) bytes += o.logits.size() * item(o.logits);
  if (o.labels.ndim == 2 && !in_rows(o.labels)) bytes += o.labels.size() * item(o.labels);
  return static_cast<size_t>(bytes);
}

void softmax_xent(const XentOperands& operands, const XentResults& results, void* scratch, Status* status) {
  visit_float(operands.logits.dtype,
              [&](auto tag) { xent<typename decltype(tag)::type>(operands, results, scratch, status); });
}

void sigmoid_xent(const View& logits, const View& targets, const View& loss, const View& dlogits) {
  if (!logits.contiguous()) copy(logits, dlogits);
  if (!targets.contiguous()) copy(targets, loss);
  visit_float(logits.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* x = (logits.contiguous() ? logits : dlogits).as<T>();
    const T* t = (targets.contiguous() ? targets : loss).as<T>();
    parallel_for_flushed(loss.size(), PER_THREAD, [&](int64_t begin, int64_t end) {
      kernels().softmax.get<T>().sigmoid_xent(x + begin, t + begin, loss.as<T>() + begin, dlogits.as<T>() + begin,
                                              end - begin);
    });
  });
}

}  // namespace nnfast
