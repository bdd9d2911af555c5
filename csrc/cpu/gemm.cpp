// gemm: the loops of BLIS (Van Zee and van de Geijn, "BLIS: A Framework for Rapidly Instantiating BLAS Functionality",
// 2015) around one micro-kernel. Packing turns any strides into panels of unit stride.
//
//   jc  NC columns of B and C        B's panels stay in L3
//   pc  KC of the inner dimension    packed: A's chunk stays in L2, B's panel there or in L1
//   ic  MC rows                      A's panels, packed together, stay in L3
//   chunks of tiles, in parallel     each thread takes the next rectangle of C
//   jr, ir  tiles                    multiply_block (gemm_blocks.h); C's tile stays in registers
//
// Where the time of n^3 goes, in shares of what FMAs on registers reach (bench/gemm_stages.py; Zen 5, one core):
//                                        avx512: 512, 2048      avx2: 512, 2048
//   the micro-kernel, all from L1              99%, 98%               100%, 100%
//   and panels of A and B from L2              98%, 94%               100%, 96%
//   and C, read and written at each pc         98%, 89%               100%, 95%
//   and packing: the whole product             97%, 87%                93%, 92%
// So with wide vectors C costs most: each pc brings 2 * 4 * n^2 bytes of it through the caches, and its rows, at a
// distance of a power of two, share a few sets of L1: 1024^3 is 1.05 times as fast if y's rows are 32 elements longer.
// It is no faster if all k of a chunk of C pass while the chunk is in L2. Packing is 3%, and panels that come from L3
// again the rest.
//
// Chunks and the order of sums depend on the problem alone: results are bitwise equal for any number of threads.
#include "gemm_blocks.h"

#include <atomic>

#include "../ops.h"
#include "parallel.h"

namespace nnfast {
namespace {

// KC: a panel of B stays in L1, or streams from L2 where a tile of many rows has the time for that, and C, read and
// written at each pc, costs more. 512 instead of 384, of 512^3, 1024^3, 2048^3: 1.03, 1.03, 1.03 times as fast with
// avx512, 1.01, 0.98, 0.97 with avx2; 640 and 1024 are no better than 512. Zen 5, one core.
constexpr int64_t KC = 384, KC_OF_HIGH_TILES = 512, NC = 4096, MC = 2048;
constexpr int64_t WIDEST = 64;         // no micro-tile is wider or higher: scratch does not depend on the ISA
constexpr int64_t LEAST_ROWS = 32;     // of a chunk, so that there are at most M / 32 + ... partial sums
constexpr int64_t PIECE_PADDING = 32;  // of the depth, in words: pieces come in steps of up to 32
constexpr int BATCH_GROUPS = 16;       // small products of a batch run side by side, in so many groups
constexpr int64_t SMALL = 1 << 19;     // multiplications: below, a product is not worth sharing

std::atomic<GemmPath> forced_path{GemmPath::automatic};

// One product: y[M,N] = finish(a[M,K] * b[K,N]).
template <class T>
struct Product {
  int64_t M, N, K;
  const T *a, *b;
  T* y;
  int64_t a_row, a_col, b_row, b_col, y_row, y_col, bias_stride;
  GemmFinish<T> finish;
  // gemm_gradient: y *= activation'(at), sum[N] = the sum of y over its rows
  const T* at = nullptr;
  int64_t at_row = 0, at_col = 0;
  Activation at_activation = Activation::linear;
  T at_slope = 0;
  T* sum = nullptr;
  bool backward() const { return at || sum; }
  const PieceGemm* pieces = nullptr;  // multiplies instead of the float kernels, if given
  KeptPanels* kept = nullptr;
};

// K in equal parts of at most so many.
int64_t part_of(int64_t K, int64_t most) { return K > most ? ceil_div(K, ceil_div(K, most)) : std::max<int64_t>(K, 1); }
int64_t depth_of(int64_t K, int mr) { return part_of(K, mr > 8 ? KC_OF_HIGH_TILES : KC); }
int64_t deepest(int64_t K) { return part_of(K, KC_OF_HIGH_TILES); }  // scratch is for any instruction set

// Of bfloat16 pieces a panel of KC words holds as many words of k.
int64_t piece_depth(const PieceGemm& pieces, int64_t K) { return part_of(K, 2 * KC / pieces.pieces); }

// Elements of scratch: panels of A and B, a contiguous bias, partial sums.
// All of A packed at once, for columns().
bool small_a(int64_t M, int64_t K) { return M <= 128 && M * K <= 1 << 17; }
int64_t a_elements(int64_t M, int64_t K) {
  return round_up(std::min(M, MC) + WIDEST, WIDEST) * ((small_a(M, K) ? K : deepest(K)) + PIECE_PADDING);
}

int64_t sum_rows(int64_t M) { return M / LEAST_ROWS + 2 * (M / MC) + 2; }
int64_t scratch_elements(int64_t M, int64_t N, int64_t K, bool sums) {
  const int64_t k = deepest(K) + PIECE_PADDING;
  return a_elements(M, K) + round_up(std::min(N, NC), WIDEST) * k + round_up(N, 16) + (sums ? sum_rows(M) * N : 0);
}

template <class T>
class Gemm {
 public:
  Gemm(const Product<T>& product, T* scratch)
      : p_(product),
        kernel_(kernels().gemm.get<T>()),
        MR_(kernel_.mr),
        NR_(kernel_.nr),
        depth_(depth_of(p_.K, kernel_.mr)) {
    packed_a_ = scratch;
    packed_b_ = packed_a_ + a_elements(p_.M, p_.K);
    bias_ = packed_b_ + round_up(std::min(p_.N, NC), WIDEST) * (depth_ + PIECE_PADDING);
    partial_ = bias_ + round_up(p_.N, 16);
    const GemmPath wanted = forced_path.load(std::memory_order_relaxed);
    path_ = wanted != GemmPath::automatic && possible(wanted) ? wanted : best_path();
    pack_a_ = path_ != GemmPath::direct;
    // B is read where it lies if each element is used once (one panel of A), or if it is one panel as it lies.
    const bool panel = p_.N == NR_ && p_.b_row == NR_;
    pack_b_ = p_.b_col != 1 || (p_.M > MR_ && !panel);
    width_ = pack_b_ && p_.N <= kernel_.lanes ? kernel_.lanes : NR_;
  }

  GemmPath path() const { return path_; }

  void run() {
    if (p_.finish.bias && p_.bias_stride != 1) {
      for (int64_t j = 0; j < p_.N; ++j) bias_[j] = p_.finish.bias[j * p_.bias_stride];
      p_.finish.bias = bias_;
    }
    if (path_ == GemmPath::few_rows) return few_rows();
    if (p_.kept && p_.kept->panels && !p_.pieces) keep();
    if (path_ == GemmPath::columns) return columns();
    const int64_t rows = pack_a_ || p_.pieces ? MC : p_.M;
    const int64_t depth = p_.pieces ? piece_depth(*p_.pieces, p_.K) : depth_;
    for (int64_t jc = 0; jc < p_.N; jc += NC) {
      chunk_rows_ = 0;
      const int64_t cols = std::min(NC, p_.N - jc);
      for (int64_t pc = 0; pc == 0 || pc < p_.K; pc += depth)  // once even if K is 0: y is still to be written
        for (int64_t ic = 0; ic < p_.M; ic += rows) {
          const Block w{ic, jc, pc, std::min(rows, p_.M - ic), cols, std::min(depth, p_.K - pc)};
          if (!p_.pieces)
            block(w);
          else if (!piece_block(w))
            for (int64_t k = 0; k < w.depth; k += depth_)
              block({ic, jc, pc + k, w.rows, cols, std::min(depth_, w.depth - k)});
        }
      if (p_.sum) add_partial_sums(jc, cols);
    }
  }

 private:
  // All of B in panels, [block of k][panel][k][NR]. The version is read before the elements: what is packed while
  // somebody writes them counts as old.
  void keep() {
    KeptPanels& kept = *p_.kept;
    T* const all = static_cast<T*>(kept.panels);
    if (const int64_t version = *kept.b_version; kept.width != NR_ || kept.version != version) {
      const int64_t panels = ceil_div(p_.N, NR_), grain = std::max<int64_t>(4, (1 << 14) / (depth_ * NR_ + 1));
      for (int64_t k = 0; k < p_.K; k += depth_) {
        const int64_t depth = std::min(depth_, p_.K - k);
        parallel_for(panels, grain, [&](int64_t begin, int64_t end) {
          kernel_.pack_b(p_.b + k * p_.b_row + begin * NR_ * p_.b_col, std::min(end * NR_, p_.N) - begin * NR_,
                         p_.b_col, depth, p_.b_row, all + (k * panels + begin * depth) * NR_);
        });
      }
      kept.version = version, kept.width = static_cast<int>(NR_);
    }
    kept_ = all;
    pack_b_ = true;
    width_ = NR_;
  }
  const T* kept_panel(int64_t k, int64_t depth, int64_t panel) const {
    return kept_ + (k * ceil_div(p_.N, NR_) + panel * depth) * NR_;
  }

  struct Block {
    int64_t i, j, k;            // where it begins
    int64_t rows, cols, depth;  // C[rows,cols] += A[rows,depth] * B[depth,cols]
  };

  // The shape model. Ratios of the paths on this machine: bench/gemm_paths.py.
  // Packing A costs a read, a transposition and a write. It pays if the panels of B that use A are many, or if the
  // rows of a tile, at a distance of whole pages, would fall into one set of L1. Zen 5, avx512, GFLOP/s of one core
  // packed against direct: (2450,128,576) 153, 202; 512^3 201, 216; 1024^3 176, 118; (32,768,3072) 109, 81. By columns
  // (32,768,3072) has 224; (128,512,784) is as fast as direct, (128,3072,768) 1.12 times, (128,784,512) 1.06 times.
  GemmPath best_path() const {
    if (possible(GemmPath::few_rows)) return GemmPath::few_rows;
    if (possible(GemmPath::columns) && p_.M > MR_ && p_.N >= 8 * NR_) return GemmPath::columns;
    const bool many = ceil_div(std::min(p_.N, NC), NR_) > 16;
    return many || p_.a_row * static_cast<int64_t>(sizeof(T)) % 4096 == 0 ? GemmPath::packed : GemmPath::direct;
  }
  bool possible(GemmPath path) const {
    if (path == GemmPath::few_rows)
      return p_.M > 0 && p_.M <= kernel_.few_rows && p_.b_col == 1 && p_.y_col == 1 && !p_.backward();
    if (path == GemmPath::columns) return !p_.pieces && p_.y_col == 1 && p_.N <= NC && small_a(p_.M, p_.K);
    return path != GemmPath::pieces;
  }

  void few_rows() {
    const int64_t grain = p_.N * p_.K < 2 * SMALL ? p_.N : 128;  // 20 microseconds of memory traffic are not shared
    parallel_for_flushed(p_.N, grain, [this](int64_t begin, int64_t end) {
      GemmFinish<T> f = p_.finish;
      if (f.bias) f.bias += begin;
      kernel_.few(p_.K, p_.a, p_.a_row, p_.a_col, p_.b + begin, p_.b_row, p_.y + begin, p_.y_row,
                  static_cast<int>(p_.M), end - begin, f);
    });
  }

  // Few rows: all of A is packed once and stays in L2, while each thread packs a panel of B and uses it at once, from
  // L1. The first tile of rows packs on its way, so that the panel comes from memory behind its FMAs: (32,768,3072)
  // takes 803 microseconds if B is packed before, 673 so, 619 if somebody else had packed it; with AVX2 1574, 1367,
  // 1246. One parallel region does for all of K. The rows are shared out evenly: 32 are 6 + 6 + 5 + 5 + 5 + 5, since a
  // tile of 2 rows takes as long as one of 4.
  void columns() {
    const int64_t tiles = ceil_div(p_.M, MR_), panels = ceil_div(p_.N, NR_), K = std::max<int64_t>(p_.K, 1);
    const auto first = [&](int64_t i) { return i * p_.M / tiles; };
    const auto panel_a = [&](int64_t i, int64_t k, int64_t depth) { return packed_a_ + (k * tiles + i * depth) * MR_; };
    parallel_for(tiles, std::max<int64_t>(1, (1 << 14) / (p_.K * MR_ + 1)), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        for (int64_t k = 0; k < p_.K; k += depth_) {
          const int64_t depth = std::min(depth_, p_.K - k);
          kernel_.pack_a(p_.a + first(i) * p_.a_row + k * p_.a_col, first(i + 1) - first(i), p_.a_row, depth, p_.a_col,
                         panel_a(i, k, depth));
        }
    });
    const int64_t group = ceil_div(SMALL / 2, p_.M * NR_ * K);
    parallel_for_flushed(panels, group, [&](int64_t begin, int64_t end) {
      const int64_t left = begin * NR_, cols = std::min(end * NR_, p_.N) - left;
      T* const scratch = packed_b_ + left * depth_;
      for (int64_t k = 0; k == 0 || k < p_.K; k += depth_) {
        const Block w{0, left, k, p_.M, cols, std::min(depth_, p_.K - k)};
        const T* const kept = kept_ ? kept_panel(k, w.depth, begin) : nullptr;
        for (int64_t j = 0; j < cols; j += NR_) {
          const int64_t width = std::min(NR_, cols - j);
          const T* const from = p_.b + k * p_.b_row + (left + j) * p_.b_col;
          T* const packed = scratch + j * w.depth;
          GemmFinish<T> f = finish_of(w);
          if (f.bias) f.bias += j;
          const bool on_the_way = !kept && p_.b_col == 1 && width == NR_;
          if (on_the_way)
            kernel_.micro_packing(w.depth, panel_a(0, k, w.depth), from, p_.b_row, packed, p_.y + left + j, p_.y_row,
                                  static_cast<int>(first(1)), f);
          else if (!kept)
            kernel_.pack_b(from, width, p_.b_col, w.depth, p_.b_row, packed);
          for (int64_t i = on_the_way; i < tiles; ++i)
            kernel_.micro(w.depth, panel_a(i, k, w.depth), 1, MR_, kept ? kept + j * w.depth : packed, NR_,
                          p_.y + first(i) * p_.y_row + left + j, p_.y_row, static_cast<int>(first(i + 1) - first(i)),
                          static_cast<int>(width), f);
        }
        if (k + w.depth >= p_.K && p_.backward()) backward(w, {0, tiles, 0, end - begin}, MR_, NR_, 0);
      }
    });
    chunk_rows_ = 1;
    if (p_.sum) add_partial_sums(0, p_.N);
  }

  void block(const Block& w) {
    Panels<T> a{p_.a + w.i * p_.a_row + w.k * p_.a_col, MR_ * p_.a_row, p_.a_row, p_.a_col};
    Panels<T> b{p_.b + w.k * p_.b_row + w.j * p_.b_col, NR_ * p_.b_col, p_.b_col, p_.b_row, packed_b_};
    pack(w, a, b);
    if (pack_a_) a = packed_panels<T>(packed_a_, MR_, w.depth);
    if (pack_b_) b = packed_panels<T>(kept_ ? kept_panel(w.k, w.depth, w.j / NR_) : packed_b_, width_, w.depth);
    const int64_t row_tiles = ceil_div(w.rows, MR_), col_tiles = ceil_div(w.cols, NR_);
    const ChunkShape chunk = chunk_shape(MR_, NR_, row_tiles, col_tiles, w.depth);
    const int64_t down = ceil_div(row_tiles, chunk.i), across = ceil_div(col_tiles, chunk.j);
    parallel_for_flushed(down * across, 1, [&](int64_t begin, int64_t end) {
      for (int64_t c = begin; c < end; ++c) {
        const int64_t i = c / across, j = c % across;
        multiply(
            w, a, b,
            {i * chunk.i, std::min((i + 1) * chunk.i, row_tiles), j * chunk.j, std::min((j + 1) * chunk.j, col_tiles)},
            chunk_rows_ + i);
      }
    });
    if (w.k + w.depth >= p_.K) chunk_rows_ += down;
  }

  // The same of bfloat16 pieces; false, and nothing is written, if an element does not fit into pieces.
  bool piece_block(const Block& w) {
    if constexpr (sizeof(T) == sizeof(float)) {
      const PieceGemm& u = *p_.pieces;
      if (!pack_pieces(w)) return false;
      const int64_t row_tiles = ceil_div(w.rows, u.mr), col_tiles = ceil_div(w.cols, u.nr);
      const ChunkShape chunk = chunk_shape(u.mr, u.nr, row_tiles, col_tiles, w.depth / 2);
      const int64_t down = ceil_div(row_tiles, chunk.i), across = ceil_div(col_tiles, chunk.j);
      parallel_for_flushed(down * across, 1, [&](int64_t begin, int64_t end) {
        if (u.begin) u.begin();
        for (int64_t c = begin; c < end; ++c) {
          const int64_t i = c / across * chunk.i, j = c % across * chunk.j;
          multiply_pieces(w, {i, std::min(i + chunk.i, row_tiles), j, std::min(j + chunk.j, col_tiles)},
                          chunk_rows_ + c / across);
        }
        if (u.end) u.end();
      });
      if (w.k + w.depth >= p_.K) chunk_rows_ += down;
    }
    return sizeof(T) == sizeof(float);
  }

  bool pack_pieces(const Block& w) {
    const PieceGemm& u = *p_.pieces;
    const int64_t a_count = ceil_div(w.rows, u.mr), b_count = ceil_div(w.cols, u.nr), words = u.words(w.depth);
    const auto panels = [&](const auto& pack, const T* from, int64_t first, int64_t end, int64_t height, int64_t rows,
                            int64_t across, int64_t along, T* to) {
      return first < end && pack(from + first * height * across, std::min(end * height, rows) - first * height, across,
                                 w.depth, along, to + first * height * words);
    };
    std::atomic<bool> extreme{false};
    const int64_t grain = std::max<int64_t>(2, (1 << 14) / (w.depth * u.nr + 1));
    parallel_for(a_count + b_count, grain, [&](int64_t begin, int64_t end) {
      const bool bad_a = panels(u.pack_a, p_.a + w.i * p_.a_row + w.k * p_.a_col, begin, std::min(end, a_count), u.mr,
                                w.rows, p_.a_row, p_.a_col, packed_a_);
      const bool bad_b = panels(u.pack_b, p_.b + w.k * p_.b_row + w.j * p_.b_col, std::max(begin - a_count, int64_t{0}),
                                end - a_count, u.nr, w.cols, p_.b_col, p_.b_row, packed_b_);
      if (bad_a || bad_b) extreme.store(true, std::memory_order_relaxed);
    });
    return !extreme.load(std::memory_order_relaxed);
  }

  void multiply_pieces(const Block& w, const TileBlock& tiles, int64_t sum_row) {
    const PieceGemm& u = *p_.pieces;
    const int64_t words = u.words(w.depth);
    alignas(64) float sum[WIDEST * WIDEST];
    for (int64_t j = tiles.j; j < tiles.j_end; ++j) {
      GemmFinish<T> f = finish_of(w);
      if (f.bias) f.bias += j * u.nr;
      for (int64_t i = tiles.i; i < tiles.i_end; ++i) {
        u.micro(w.depth, packed_a_ + i * u.mr * words, packed_b_ + j * u.nr * words, sum);
        kernel_.finish(sum, u.nr, p_.y + (w.i + i * u.mr) * p_.y_row + w.j + j * u.nr, p_.y_row,
                       std::min<int64_t>(u.mr, w.rows - i * u.mr), std::min<int64_t>(u.nr, w.cols - j * u.nr), f);
      }
    }
    if (w.k + w.depth >= p_.K && p_.backward()) backward(w, tiles, u.mr, u.nr, sum_row);
  }

  // What happens to the tiles of this block: beta before the first k, bias and activation after the last.
  GemmFinish<T> finish_of(const Block& w) const {
    GemmFinish<T> f = p_.finish;
    const bool last = w.k + w.depth >= p_.K;
    if (w.k > 0) f.beta = 1;
    f.bias = last && f.bias ? f.bias + w.j : nullptr;
    if (!last) f.activation = 0;
    return f;
  }

  // Packs the panels of this block; of B, where it is used as it lies, an incomplete last one.
  void pack(const Block& w, const Panels<T>& a, const Panels<T>& b) {
    const int64_t a_count = pack_a_ ? ceil_div(w.rows, MR_) : 0;
    const int64_t b_begin = kept_ ? ceil_div(w.cols, NR_) : pack_b_ ? 0 : w.cols / NR_;
    const int64_t b_count = ceil_div(w.cols, NR_) - b_begin;
    const auto pack_b = width_ == NR_ ? kernel_.pack_b : kernel_.pack_narrow;
    const auto panels = [&](const auto& fn, const Panels<T>& from, int64_t first, int64_t count, int64_t height,
                            int64_t rows, T* to) {
      if (count > 0)
        fn(from.first + first * from.step, std::min(count * height, rows - first * height), from.across, w.depth,
           from.along, to);
    };
    // Panels of A, then of B; some of each side by side, since memory likes to be read in long pieces.
    const int64_t grain = std::max<int64_t>(4, (1 << 14) / (w.depth * NR_ + 1));
    parallel_for(a_count + b_count, grain, [&](int64_t begin, int64_t end) {
      const int64_t a_end = std::min(end, a_count), first = std::max(begin, a_count);
      panels(kernel_.pack_a, a, begin, a_end - begin, MR_, w.rows, packed_a_ + begin * MR_ * w.depth);
      panels(pack_b, b, b_begin + first - a_count, end - first, NR_, w.cols,
             packed_b_ + (first - a_count) * NR_ * w.depth);
    });
  }

  void multiply(const Block& w, const Panels<T>& a, const Panels<T>& b, const TileBlock& tiles, int64_t sum_row) {
    const GemmFinish<T> f = finish_of(w);
    T* y = p_.y + w.i * p_.y_row + w.j * p_.y_col;
    if (p_.y_col == 1)
      multiply_block(kernel_, w.depth, a, b, y, p_.y_row, w.rows, w.cols, tiles, f);
    else
      multiply_scattered(w, a, b, y, tiles, f);
    if (w.k + w.depth >= p_.K && p_.backward()) backward(w, tiles, MR_, NR_, sum_row);
  }

  // y without unit column stride: each tile is gathered, computed and scattered.
  void multiply_scattered(const Block& w, const Panels<T>& a, const Panels<T>& b, T* y, const TileBlock& tiles,
                          const GemmFinish<T>& finish) {
    T tile[WIDEST * WIDEST];
    for (int64_t i = tiles.i; i < tiles.i_end; ++i)
      for (int64_t j = tiles.j; j < tiles.j_end; ++j) {
        T* to = y + i * MR_ * p_.y_row + j * NR_ * p_.y_col;
        const int64_t rows = std::min(MR_, w.rows - i * MR_), cols = std::min(NR_, w.cols - j * NR_);
        if (finish.beta != 0)
          for (int64_t r = 0; r < rows; ++r)
            for (int64_t c = 0; c < cols; ++c) tile[r * NR_ + c] = to[r * p_.y_row + c * p_.y_col];
        GemmFinish<T> f = finish;
        if (f.bias) f.bias += j * NR_;
        multiply_block<T>(kernel_, w.depth, {a.first + i * a.step, 0, a.across, a.along, a.last},
                          {b.first + j * b.step, 0, b.across, b.along, b.last}, tile, NR_, rows, cols, {0, 1, 0, 1}, f);
        for (int64_t r = 0; r < rows; ++r)
          for (int64_t c = 0; c < cols; ++c) to[r * p_.y_row + c * p_.y_col] = tile[r * NR_ + c];
      }
  }

  // y *= activation'(at) on the tiles just computed, and their sum over the rows.
  void backward(const Block& w, const TileBlock& tiles, int64_t mr, int64_t nr, int64_t sum_row) {
    const int64_t i = w.i + tiles.i * mr, rows = std::min(w.i + w.rows, w.i + tiles.i_end * mr) - i;
    const int64_t j = w.j + tiles.j * nr, cols = std::min(w.j + w.cols, w.j + tiles.j_end * nr) - j;
    T* sum = partial_ + sum_row * p_.N + j;
    if (p_.sum) std::fill_n(sum, cols, T(0));
    T* y = p_.y + i * p_.y_row + j;
    const auto rows_back = [&](int64_t count, T* d, const T* at, int64_t at_row, int64_t n, T* s) {
      kernel_.backward(count, n, d, p_.y_row, at, at_row, p_.at ? d : nullptr, p_.y_row,
                       static_cast<int>(p_.at_activation), p_.at_slope, p_.sum ? s : nullptr);
    };
    if (!p_.at) return rows_back(rows, y, y, p_.y_row, cols, sum);
    const T* at = p_.at + i * p_.at_row + j * p_.at_col;
    if (p_.at_col == 1) return rows_back(rows, y, at, p_.at_row, cols, sum);
    T line[WIDEST];
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < cols; c += WIDEST) {
        const int64_t n = std::min(WIDEST, cols - c);
        for (int64_t l = 0; l < n; ++l) line[l] = at[r * p_.at_row + (c + l) * p_.at_col];
        rows_back(1, y + r * p_.y_row + c, line, 0, n, sum + c);
      }
  }

  // The sum of columns [j, j + cols), in the order of the rows.
  void add_partial_sums(int64_t j, int64_t cols) {
    std::fill_n(p_.sum + j, cols, T(0));
    const T* from = partial_ + j;
    kernel_.backward(chunk_rows_, cols, from, p_.N, from, p_.N, nullptr, 0, 0, 0, p_.sum + j);
  }

  Product<T> p_;
  const GemmKernels<T>& kernel_;
  const int64_t MR_, NR_, depth_;
  T *packed_a_, *packed_b_, *bias_, *partial_;
  const T* kept_ = nullptr;  // all of B in panels, where they are kept
  int64_t width_;            // of a packed panel of B
  GemmPath path_;
  bool pack_a_, pack_b_;
  int64_t chunk_rows_ = 0;  // chunks of rows of y that are done with: each has its row of partial sums
};

// Offset of batch entry `index` of y in an operand whose batch dimensions broadcast to those of y.
int64_t batch_offset(const View& v, const View& y, int batch_dims, int64_t index) {
  int64_t offset = 0;
  for (int d = batch_dims - 1; d >= 0; --d) {
    const int64_t at = index % y.shape[d];
    index /= y.shape[d];
    const int i = d + v.ndim - y.ndim;
    if (i >= 0 && v.shape[i] != 1) offset += at * v.stride[i];
  }
  return offset;
}

// The sizes of one product and how many there are. Trailing batch dimensions over which b repeats become rows of a, if
// the rows of a and y go on at the same distance.
struct Shape {
  int64_t M, N, K, batch = 1;
  int batch_dims;
  bool side_by_side;  // small products of a batch, each on one thread
  Shape(const View& a, const View& b, const View& y)
      : M(y.shape[y.ndim - 2]), N(y.shape[y.ndim - 1]), K(a.shape[a.ndim - 1]), batch_dims(y.ndim - 2) {
    for (; batch_dims > 0; --batch_dims) {
      const int d = batch_dims - 1, ia = d + a.ndim - y.ndim, ib = d + b.ndim - y.ndim;
      const bool repeats = ib < 0 || b.shape[ib] == 1 || b.stride[ib] == 0;
      if (!repeats || ia < 0 || a.shape[ia] != y.shape[d]) break;
      if (a.stride[ia] != M * a.stride[a.ndim - 2] || y.stride[d] != M * y.stride[y.ndim - 2] || M < 2) break;
      M *= y.shape[d];
    }
    for (int d = 0; d < batch_dims; ++d) batch *= y.shape[d];
    side_by_side = batch > 1 && M * N * K < 8 * SMALL;
  }
  int64_t groups() const { return side_by_side ? std::min<int64_t>(batch, BATCH_GROUPS) : 1; }
};

template <class T>
Product<T> product_of(const Shape& s, const View& a, const View& b, const View& bias, const View& y) {
  Product<T> p{};
  p.M = s.M, p.N = s.N, p.K = s.K;
  p.a_row = a.stride[a.ndim - 2], p.a_col = a.stride[a.ndim - 1];
  p.b_row = b.stride[b.ndim - 2], p.b_col = b.stride[b.ndim - 1];
  p.y_row = y.stride[y.ndim - 2], p.y_col = s.N == 1 ? 1 : y.stride[y.ndim - 1];
  p.bias_stride = bias.given() ? bias.stride[0] : 0;
  p.finish = GemmFinish<T>{};
  p.finish.bias = bias.given() ? bias.as<T>() : nullptr;
  return p;
}

// The kernel that multiplies this product as bfloat16 pieces, or nullptr.
const PieceGemm* pieces_for(const Product<float>& p, Precision precision) {
  const PieceUnit* unit = precision == Precision::highest ? nullptr : piece_unit();
  const PieceGemm* pieces = !unit ? nullptr : precision == Precision::high ? unit->high : unit->medium;
  // Packing both operands as pieces has to pay. Zen 5, time in medium over that in highest: (128,512,784) 0.66,
  // (784,512,128) 0.64; (2450,128,576) 1.1, (9800,64,288) 2.1, (32,768,3072) 1.05, 64^3 1.0.
  const bool large = p.M > 64 && p.N > 192 && p.K >= 64;
  const bool worth = large || (forced_path.load(std::memory_order_relaxed) == GemmPath::pieces && p.M > 0);
  return worth && p.y_col == 1 ? pieces : nullptr;
}
const PieceGemm* pieces_for(const Product<double>&, Precision) { return nullptr; }

template <class T>
void run_batch(const Shape& s, Product<T> p, const View& a, const View& b, const View& y, T* scratch) {
  const int64_t groups = s.groups(), grain = ceil_div(s.batch, std::max<int64_t>(groups, 1));
  const int64_t each = scratch_elements(s.M, s.N, s.K, p.sum);
  parallel_for(s.batch, s.side_by_side ? grain : s.batch, [&](int64_t begin, int64_t end) {
    Product<T> one = p;
    for (int64_t i = begin; i < end; ++i) {
      one.a = a.as<T>() + batch_offset(a, y, s.batch_dims, i);
      one.b = b.as<T>() + batch_offset(b, y, s.batch_dims, i);
      one.y = y.as<T>() + batch_offset(y, y, s.batch_dims, i);
      Gemm<T>(one, scratch + begin / grain * each).run();
    }
  });
}

size_t item_size(DType dtype) { return dtype == DType::float64 ? sizeof(double) : sizeof(float); }
}  // namespace

ChunkShape chunk_shape(int64_t mr, int64_t nr, int64_t row_tiles, int64_t col_tiles, int64_t k) {
  constexpr int64_t ROWS = 144, COLS = 512, LEAST_WORK = 1 << 18, WANTED = 16;
  ChunkShape c{std::min(row_tiles, ceil_div(ROWS, mr)), std::min(col_tiles, ceil_div(COLS, nr))};
  const auto work = [&] { return c.i * mr * c.j * nr * (k + 16); };  // a tile of C costs about as much as 16 k
  const auto chunks = [&] { return ceil_div(row_tiles, c.i) * ceil_div(col_tiles, c.j); };
  while (chunks() < WANTED && work() >= 2 * LEAST_WORK) {
    const bool rows = c.i * mr >= 2 * LEAST_ROWS && c.i > 1;
    if (c.j > 1 && (c.j * nr >= c.i * mr || !rows))
      c.j = ceil_div(c.j, 2);
    else if (rows)
      c.i = ceil_div(c.i, 2);
    else
      break;
  }
  return c;
}

void force_gemm_path(GemmPath path) { forced_path.store(path, std::memory_order_relaxed); }
GemmPath forced_gemm_path() { return forced_path.load(std::memory_order_relaxed); }
GemmPath gemm_path(const View& a, const View& b, const View& y, void* scratch) {
  return visit_float(y.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    return Gemm<T>(product_of<T>(Shape(a, b, y), a, b, View{}, y), static_cast<T*>(scratch)).path();
  });
}

size_t gemm_scratch(const View& a, const View& b, const View& y, Precision) {
  const Shape s(a, b, y);
  return static_cast<size_t>(scratch_elements(s.M, s.N, s.K, false) * s.groups()) * item_size(y.dtype);
}

size_t gemm_kept(const View& a, const View& b, const View& y) {
  const Shape s(a, b, y);
  const bool pays = b.ndim == 2 && s.batch == 1 && s.M > 3 && s.M <= 256 && s.N > 16 && s.N * s.K >= 1 << 14;
  return pays ? static_cast<size_t>(round_up(s.N, WIDEST) * s.K) * item_size(y.dtype) : 0;
}

void gemm(const View& a, const View& b, const View& bias, double alpha, double beta, Activation activation,
          double slope, Precision precision, const View& y, void* scratch, KeptPanels* kept) {
  const Shape s(a, b, y);
  visit_float(y.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    Product<T> p = product_of<T>(s, a, b, bias, y);
    p.finish.alpha = static_cast<T>(alpha);
    p.finish.beta = static_cast<T>(beta);
    p.finish.activation = static_cast<int>(activation);
    p.finish.slope = static_cast<T>(slope);
    p.pieces = pieces_for(p, precision);
    p.kept = kept;
    run_batch(s, p, a, b, y, static_cast<T*>(scratch));
  });
}

size_t gemm_gradient_scratch(const View& a, const View& b, const View& d, Precision) {
  const Shape s(a, b, d);
  return static_cast<size_t>(scratch_elements(s.M, s.N, s.K, true)) * item_size(d.dtype);
}

void gemm_gradient(const View& a, const View& b, const View& y, Activation activation, double slope,
                   Precision precision, const View& d, const View& sum, void* scratch) {
  const Shape s(a, b, d);
  visit_float(d.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    Product<T> p = product_of<T>(s, a, b, View{}, d);
    p.at = y.given() ? y.as<T>() : nullptr;
    if (y.given()) p.at_row = y.stride[0], p.at_col = y.stride[1];
    p.at_activation = activation;
    p.at_slope = static_cast<T>(slope);
    p.sum = sum.given() ? sum.as<T>() : nullptr;
    p.pieces = pieces_for(p, precision);
    run_batch(s, p, a, b, d, static_cast<T*>(scratch));
  });
}

}  // namespace nnfast
