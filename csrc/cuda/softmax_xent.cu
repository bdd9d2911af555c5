// softmax_xent: a team of threads per row finds largest and sum of exponentials in one pass, and in a second writes the
// gradient and adds the loss; what the rows found is folded at the end, in a fixed order, by a launch that also reports
// the lowest bad label. Labels are read where they lie, in their own type. Operands have any strides.
#include "fold.cuh"

namespace nnfast {
namespace {

// ---- class numbers ----
struct Label {
  int64_t at;  // the class; 0 where it is none
  bool good, ignored;
  StatusCode code;  // how the number is reported
  int64_t value;
};
struct Labels {
  const void* data;
  int64_t step, classes;
  DType dtype;
  IgnoreClass ignore;

  __device__ Label of_number(int64_t v, bool huge) const {
    const bool good = !huge && v >= 0 && v < classes;
    if (huge)  // beyond int64
      return {0, false, false, BAD_LABEL_FLOAT, __double_as_longlong(static_cast<double>(static_cast<uint64_t>(v)))};
    return {good ? v : 0, good, ignore.given && v == ignore.value, BAD_LABEL, v};
  }
  __device__ Label of_float(double v, double ignored) const {
    const int64_t whole = v >= 0 && v < static_cast<double>(classes) ? static_cast<int64_t>(v) : -1;
    const bool good = whole >= 0 && static_cast<double>(whole) == v;
    return {good ? whole : 0, good, ignore.given && v == ignored, BAD_LABEL_FLOAT, __double_as_longlong(v)};
  }
  template <class L>
  __device__ L raw(int64_t i) const {
    return static_cast<const L*>(data)[i * step];
  }
  __device__ Label operator[](int64_t i) const {
    switch (dtype) {
      case DType::boolean:
      case DType::uint8:
        return of_number(raw<uint8_t>(i), false);
      case DType::int8:
        return of_number(raw<int8_t>(i), false);
      case DType::int16:
        return of_number(raw<int16_t>(i), false);
      case DType::uint16:
        return of_number(raw<uint16_t>(i), false);
      case DType::int32:
        return of_number(raw<int32_t>(i), false);
      case DType::uint32:
        return of_number(raw<uint32_t>(i), false);
      case DType::int64:
        return of_number(raw<int64_t>(i), false);
      case DType::uint64:
        return of_number(raw<int64_t>(i), raw<int64_t>(i) < 0);
      case DType::float64:
        return of_float(raw<double>(i), static_cast<double>(ignore.value));
      default:
        return of_float(raw<float>(i), static_cast<float>(ignore.value));
    }
  }
};

// ---- rows ----
template <class T>
struct RowResult {
  T loss;
  bool correct, bad;
};
template <class T>
struct Xent {
  const T* logits;
  Labels labels;  // class numbers, or:
  const T* soft;  // probabilities
  const T *sample_weight, *class_weight;
  int64_t sample_step, class_step;
  T keep, spread;          // t becomes keep * t + spread
  T scale;                 // of the gradient, if `counted` is nullptr; else 1 / *counted
  const int64_t* counted;  // rows that are not ignored
  T *dlogits, *loss;       // each may be nullptr
  RowResult<T>* results;
};

// What a team must know of its row before it can write the gradient.
template <class T>
struct HardState {
  LogSumExpState<T> all;
  int64_t beaten;  // by how many elements the one at the label is
  __device__ void begin() { all.begin(), beaten = 0; }
  __device__ void join(const HardState& o) { all.join(o.all), beaten += o.beaten; }
};
template <class T>
struct SoftState {
  LogSumExpState<T> all;
  ExtremeState<T> best, hit;  // of the logits and of the probabilities
  T total, weight;
  int64_t bad;
  __device__ void begin() { all.begin(), best.begin(), hit.begin(), total = weight = 0, bad = 0; }
  __device__ void join(const SoftState& o) {
    all.join(o.all), best.join(o.best), hit.join(o.hit);
    total += o.total, weight += o.weight, bad += o.bad;
  }
};

// The rows are of the logits, the dlogits and the probabilities.
template <class T, bool SOFT, int WIDTH>
__global__ void __launch_bounds__(ROW_THREADS) xent_kernel(Rows<3> rows, Xent<T> q) {
  const Team team = team_of(rows);
  const T scale = !q.counted ? q.scale : *q.counted ? T(1) / static_cast<T>(*q.counted) : T(0);
  for_rows(rows, team, [&](bool real, const int64_t (&at)[3], int64_t row) {
    std::conditional_t<SOFT, SoftState<T>, HardState<T>> state;
    state.begin();
    Label label{};
    T weight = 1;
    if (real) {
      ExtremeState<T> wanted{};
      if constexpr (!SOFT) {
        label = q.labels[row];
        int64_t along[3];
        rows.cut.at(label.at, along);
        wanted = {q.logits[at[0] + along[0]], label.at};
      }
      for_elements<WIDTH>(rows, team, at, [&](int64_t c, const int64_t (&here)[3]) {
        const auto x = load<WIDTH>(q.logits + here[0]);
        state.all.add_few(x);
#pragma unroll
        for (int i = 0; i < WIDTH; ++i) {
          if constexpr (SOFT) {
            const T t = q.soft[here[2]];
            state.best.add(x.v[i], c + i);
            state.hit.add(t, c + i);
            state.total += t;
            if (q.class_weight) state.weight += t * q.class_weight[c * q.class_step];
            state.bad += !(t >= T(0) && t < T(INFINITY));
          } else {
            state.beaten += wanted.beats(x.v[i], c + i);
          }
        }
      });
    }
    state = join_team(state, team);
    const T top = state.all.top, sum = state.all.sum + (top - top), low = log(sum), share = T(1) / sum;
    SumState<T> loss{T(0)};
    if (real) {
      T total = T(1);  // of the probabilities
      if constexpr (SOFT) {
        total = state.total;
        if (q.class_weight) weight = state.weight;
      } else {
        if (q.class_weight) weight = q.class_weight[label.at * q.class_step];
      }
      if (q.sample_weight) weight *= q.sample_weight[row * q.sample_step];
      total = q.keep * total + q.spread * static_cast<T>(rows.length);
      const T factor = weight * scale;
      for_elements<WIDTH>(rows, team, at, [&](int64_t c, const int64_t (&here)[3]) {
        const auto x = load<WIDTH>(q.logits + here[0]);
        Several<T, WIDTH> d;
#pragma unroll
        for (int i = 0; i < WIDTH; ++i) {
          T t = q.spread;
          if constexpr (SOFT)
            t += q.keep * q.soft[here[2]];
          else if (c + i == label.at)
            t += q.keep;
          if (t != T(0)) loss.sum -= t * (x.v[i] - top - low);
          d.v[i] = label.ignored ? T(0) : factor * (exp(x.v[i] - top) * share * total - t);
        }
        if (q.dlogits) store<WIDTH>(q.dlogits + here[1], d);
      });
    }
    loss = join_team(loss, team);
    if (!real || team.lane != 0) return;
    const T value = label.ignored ? T(0) : weight * loss.sum;
    if (q.loss) q.loss[row] = value;
    if constexpr (SOFT)
      q.results[row] = {value, state.best.at == (state.bad ? 0 : state.hit.at), state.bad != 0};
    else
      q.results[row] = {value, !label.ignored && state.beaten == 0, !label.ignored && !label.good};
  });
}

// ---- folds over the rows ----
constexpr int64_t NONE = INT64_MAX;
struct Batch {
  double loss;
  int64_t correct, bad;  // bad: the lowest row
  __host__ __device__ void begin() { loss = 0, correct = 0, bad = NONE; }
  template <class T>
  __device__ void add(const RowResult<T>& r, int64_t row) {
    loss += static_cast<double>(r.loss);
    correct += r.correct;
    if (r.bad && row < bad) bad = row;
  }
  __device__ void join(const Batch& o) {
    loss += o.loss, correct += o.correct;
    if (o.bad < bad) bad = o.bad;
  }
};
template <class T>
struct AddResult {
  static constexpr bool FAST = false, PACKS = false;
  const RowResult<T>* results;
  __device__ void operator()(Batch& b, const int64_t (&)[1], int64_t row) const { b.add(results[row], row); }
};
template <class T>
struct StoreBatch {
  Labels labels;
  const T* soft;
  int64_t soft_row, soft_col;
  double scale;
  const int64_t* counted;
  T* loss;  // or nullptr
  int64_t* correct;
  Status* status;

  __device__ void operator()(const Batch& b, const int64_t (&)[1]) const {
    if (loss)
      *loss = static_cast<T>(b.loss * (!counted ? scale : *counted ? 1.0 / static_cast<double>(*counted) : 0.0));
    *correct = b.correct;
    if (b.bad == NONE || !status || status->code != OK) return;
    StatusCode code = BAD_LABEL_ROW;
    int64_t value = 0;
    if (soft) {
      const T* row = soft + b.bad * soft_row;
      while (*row >= T(0) && *row < T(INFINITY)) row += soft_col;
      value = __double_as_longlong(static_cast<double>(*row));
    } else {
      const Label label = labels[b.bad];
      code = label.code, value = label.value;
    }
    *status = Status{code, status->now, b.bad, value, status->now};
  }
};
struct AddCounted {  // 1 for each row that is not ignored
  static constexpr bool FAST = false, PACKS = false;
  Labels labels;
  __device__ void operator()(SumState<int64_t>& s, const int64_t (&)[1], int64_t row) const {
    s.sum += !labels[row].ignored;
  }
};
struct StoreCount {
  int64_t* to;
  __device__ void operator()(const SumState<int64_t>& s, const int64_t (&)[1]) const { *to = s.sum; }
};

Rows<1> over_rows(const XentOperands& o) {
  View numbers;
  numbers.ndim = 1;
  numbers.shape[0] = o.logits.shape[0];
  return rows_over(1, numbers.dense(nullptr));
}
bool counts(const XentOperands& o) { return o.ignore.given && o.reduction == LossReduction::mean; }

// Scratch: the count, what each row found, and that of the folds.
constexpr size_t COUNT_BYTES = 256;
size_t results_bytes(const XentOperands& o) {
  return (static_cast<size_t>(o.logits.shape[0]) * sizeof(RowResult<double>) + 255) / 256 * 256;
}
}  // namespace

size_t softmax_xent_scratch(const XentOperands& o) {
  return COUNT_BYTES + results_bytes(o) + fold_scratch<Batch>(over_rows(o));
}

void softmax_xent(const XentOperands& o, const XentResults& to, void* scratch, Status* status) {
  const int64_t N = o.logits.shape[0], C = o.logits.shape[1];
  const bool soft = o.labels.ndim == 2;
  const Rows<1> all = over_rows(o);
  auto* const counted = counts(o) ? static_cast<int64_t*>(scratch) : nullptr;
  void* const results = static_cast<char*>(scratch) + COUNT_BYTES;
  void* const rest = static_cast<char*>(results) + results_bytes(o);
  const Labels labels{o.labels.data, o.labels.stride[0], C, o.labels.dtype, o.ignore};
  if (counted) fold(all, SumState<int64_t>{}, AddCounted{labels}, StoreCount{counted}, rest);
  visit_float(o.logits.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const double scale = o.reduction != LossReduction::mean ? 1 : N ? 1 / static_cast<double>(N) : 0;
    const bool each = o.reduction == LossReduction::none;
    const auto data = [](const View& v) { return v.given() ? v.as<T>() : nullptr; };
    Xent<T> q{};
    q.logits = o.logits.as<T>(), q.labels = labels, q.soft = soft ? o.labels.as<T>() : nullptr;
    q.sample_weight = data(o.sample_weight), q.class_weight = data(o.class_weight);
    q.sample_step = o.sample_weight.stride[0], q.class_step = o.class_weight.stride[0];
    q.keep = T(1 - o.label_smoothing), q.spread = C ? T(o.label_smoothing / static_cast<double>(C)) : T(0);
    q.scale = T(scale), q.counted = counted;
    q.dlogits = data(to.dlogits), q.loss = each ? to.loss.as<T>() : nullptr;
    q.results = static_cast<RowResult<T>*>(results);
    if (N > 0) {
      const auto rows = rows_over(2, o.logits, to.dlogits, soft ? o.labels : View{});
      constexpr int W = WIDE<T>;
      const bool packs = in_packs(rows, to.dlogits.given() ? 3 : 1, W, {o.logits.data, to.dlogits.data, nullptr});
      launch(soft    ? xent_kernel<T, true, 1>
             : packs ? xent_kernel<T, false, W>
                     : xent_kernel<T, false, 1>,
             rows.blocks(), ROW_THREADS, 0, stream(), rows, q);
    }
    const StoreBatch<T> store{labels,
                              q.soft,
                              o.labels.stride[0],
                              o.labels.stride[1],
                              scale,
                              counted,
                              each ? nullptr : to.loss.as<T>(),
                              to.correct.as<int64_t>(),
                              status};
    fold(all, Batch{}, AddResult<T>{q.results}, store, rest);
  });
}

// ---- sigmoid_xent: two results of two operands. The walk is of logits, targets, loss, dlogits ----
namespace {
template <class T, int WIDTH>
__global__ void __launch_bounds__(256)
    sigmoid_xent_kernel(Walk<4> walk, const T* logits, const T* targets, T* loss, T* dlogits) {
#pragma unroll 1
  for (int64_t i = global_thread() * WIDTH; i < walk.size; i += all_threads() * WIDTH) {
    int64_t at[4] = {i, i, i, i};
    if constexpr (WIDTH == 1) walk.at(i, at);
    const auto x = load<WIDTH>(logits + at[0]), t = load<WIDTH>(targets + at[1]);
    Several<T, WIDTH> l, d;
#pragma unroll
    for (int k = 0; k < WIDTH; ++k) {
      l.v[k] = max(x.v[k], T(0)) - x.v[k] * t.v[k] + log1p(exp(-abs(x.v[k])));
      d.v[k] = sigmoid(x.v[k]) - t.v[k];
    }
    store<WIDTH>(loss + at[2], l);
    store<WIDTH>(dlogits + at[3], d);
  }
}
}  // namespace

void sigmoid_xent(const View& logits, const View& targets, const View& loss, const View& dlogits) {
  const auto walk = walk_over(logits, targets, loss, dlogits);
  if (walk.size == 0) return;
  visit_float(logits.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    constexpr int N = WIDE<T>;
    bool packs = walk.size % N == 0;
    const void* const data[] = {logits.data, targets.data, loss.data, dlogits.data};
    for (int k = 0; k < 4; ++k) packs = packs && walk.dense(k) && aligned(data[k]);
    launch(packs ? sigmoid_xent_kernel<T, N> : sigmoid_xent_kernel<T, 1>,
           blocks_for(packs ? walk.size / N : walk.size, 256, 132 * 16), 256, 0, stream(), walk, logits.as<T>(),
           targets.as<T>(), loss.as<T>(), dlogits.as<T>());
  });
}

}  // namespace nnfast
