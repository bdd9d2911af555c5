// Adafactor: a step whose size depends on norms, so it walks over a variable four times: the norm of w; the sums of
// g^2 by rows and columns; v from them, and the norm of g / sqrt(v); the step. N. Shazeer, M. Stern, arXiv:1804.04235.
#include <algorithm>
#include <cmath>

#include "../ops.h"
#include "kernels.h"
#include "parallel.h"
#include "status.h"

namespace nnfast {
namespace {

constexpr int64_t GRAIN = 1 << 14;  // elements of a chunk
constexpr int64_t MOST_BLOCKS = 8;  // of rows in one matrix: each has column sums of its own

struct Cut {
  int64_t size, chunks;                               // the variable as one range
  int64_t rows_per_block, blocks_per_matrix, blocks;  // as matrices, cut into blocks of rows
};
Cut cut(const AdafactorPart& p) {
  Cut c{};
  c.size = p.batch * p.rows * p.columns;
  c.chunks = (c.size + GRAIN - 1) / GRAIN;
  if (p.row && c.size) {
    c.rows_per_block = std::max((p.rows + MOST_BLOCKS - 1) / MOST_BLOCKS, GRAIN / p.columns);
    c.rows_per_block = std::clamp<int64_t>(c.rows_per_block, 1, p.rows);
    c.blocks_per_matrix = (p.rows + c.rows_per_block - 1) / c.rows_per_block;
    c.blocks = p.batch * c.blocks_per_matrix;
  }
  return c;
}

// fn(from, n, chunk) for the pieces of the range, in parallel.
template <class F>
void for_chunks(const Cut& c, const F& fn) {
  parallel_for_flushed(c.chunks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) fn(i * GRAIN, std::min(GRAIN, c.size - i * GRAIN), i);
  });
}
// fn(matrix, first row, end, block) for the blocks of rows, in parallel; small matrices share a chunk of the work.
template <class F>
void for_blocks(const AdafactorPart& p, const Cut& c, const F& fn) {
  const int64_t together = std::max<int64_t>(1, GRAIN / (c.rows_per_block * p.columns));
  parallel_for_flushed(c.blocks, together, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i % c.blocks_per_matrix * c.rows_per_block;
      fn(i / c.blocks_per_matrix, first, std::min(first + c.rows_per_block, p.rows), i);
    }
  });
}
double sum(const double* part, int64_t n) {
  double s = 0;
  for (int64_t i = 0; i < n; ++i) s += part[i];
  return s;
}

// The factors' new values. columns: scratch, of each block.
template <class T>
void update_factors(const AdafactorPart& p, const Cut& c, double beta, double epsilon, double* columns) {
  const T old = T(beta), rest = T(1 - beta);
  for_blocks(p, c, [&](int64_t matrix, int64_t first, int64_t end, int64_t block) {
    double* sums = columns + block * p.columns;
    std::fill(sums, sums + p.columns, 0.0);
    for (int64_t row = matrix * p.rows + first; row < matrix * p.rows + end; ++row) {
      const T* g = static_cast<const T*>(p.g) + row * p.columns;
      T& factor = static_cast<T*>(p.row)[row];
      const double mean = kernels().optimizer.get<T>().adafactor_row(g, p.columns, T(epsilon), sums) / p.columns;
      factor = old * factor + rest * T(mean);
    }
  });
  parallel_for_flushed(p.batch, std::max<int64_t>(1, GRAIN / p.columns), [&](int64_t begin, int64_t end) {
    for (int64_t matrix = begin; matrix < end; ++matrix)
      for (int64_t i = 0; i < p.columns; ++i) {
        double s = 0;
        for (int64_t b = 0; b < c.blocks_per_matrix; ++b)
          s += columns[(matrix * c.blocks_per_matrix + b) * p.columns + i];
        T& factor = static_cast<T*>(p.column)[matrix * p.columns + i];
        factor = old * factor + rest * T(s / p.rows);
      }
  });
}

template <class T>
void step_of(const AdafactorPart& p, double lr, double t, const Adafactor& how, double weight_decay, double* scratch) {
  const Cut c = cut(p);
  const auto& k = kernels().optimizer.get<T>();
  T *w = static_cast<T*>(p.w), *v = static_cast<T*>(p.v);
  const T* g = static_cast<const T*>(p.g);
  const double beta = 1 - std::pow(t, how.beta_2_decay), decay = weight_decay * lr;
  double *norms = scratch, *columns = scratch + std::max(c.chunks, c.blocks);

  for_chunks(c, [&](int64_t from, int64_t n, int64_t i) { norms[i] = k.squares(w + from, n, T(1 - decay)); });
  const double size = std::sqrt(sum(norms, c.chunks) / c.size);

  AdafactorRates<T> rates{T(beta), T(1 - beta), T(how.epsilon_1), 0};
  if (p.row) {
    update_factors<T>(p, c, beta, how.epsilon_1, columns);
    for_blocks(p, c, [&](int64_t matrix, int64_t first, int64_t end, int64_t block) {
      const T *row = static_cast<const T*>(p.row) + matrix * p.rows,
              *column = static_cast<const T*>(p.column) + matrix * p.columns;
      double mean = 0;
      for (int64_t i = 0; i < p.rows; ++i) mean += static_cast<double>(row[i]);
      mean /= p.rows;
      norms[block] = 0;
      for (int64_t i = first; i < end; ++i) {
        const int64_t at = (matrix * p.rows + i) * p.columns;
        AdafactorRates<T> here = rates;
        here.row = T(static_cast<double>(row[i]) / mean);
        norms[block] += k.adafactor_spread(g + at, v + at, p.columns, column, here);
      }
    });
  } else {
    for_chunks(c, [&](int64_t from, int64_t n, int64_t i) {
      norms[i] = k.adafactor_spread(g + from, v + from, n, nullptr, rates);
    });
  }
  const double over = std::sqrt(sum(norms, p.row ? c.blocks : c.chunks) / c.size) / how.clip_threshold;
  const double rate = (size <= how.epsilon_2 ? how.epsilon_2 : size) * std::min(lr, 1 / std::sqrt(t));
  const T move = T(rate / (over <= 1 ? 1 : over));  // written so that NaN stays
  for_chunks(
      c, [&](int64_t from, int64_t n, int64_t) { k.adafactor_move(w + from, g + from, v + from, n, move, T(decay)); });
}

}  // namespace

size_t adafactor_scratch(const AdafactorPart& p) {
  const Cut c = cut(p);
  return sizeof(double) * static_cast<size_t>(std::max(c.chunks, c.blocks) + c.blocks * p.columns);
}

void adafactor(const AdafactorPart& part, const double* lr, const int64_t* step, const Adafactor& how,
               double weight_decay, void* scratch, const Status* status) {
  if (stopped(status) || cut(part).size == 0) return;
  visit_float(part.dtype, [&](auto tag) {
    step_of<typename decltype(tag)::type>(part, *lr, static_cast<double>(*step) + 1, how, weight_decay,
                                          static_cast<double*>(scratch));
  });
}

}  // namespace nnfast
