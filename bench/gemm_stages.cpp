// Where the time of a whole product goes: the loops of csrc/cpu/gemm.cpp on one core with stages left out. Built and
// run by gemm_stages.py, for one instruction set.
#include <sys/mman.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "../csrc/cpu/gemm_blocks.h"
#include "../csrc/cpu/kernels.h"
#include "../csrc/cpu/parallel.h"
#include "../csrc/ops.h"

namespace nnfast {
namespace NNFAST_ISA {
extern const GemmKernels<float> gemm_f32;
extern const GemmKernels<double> gemm_f64;
}  // namespace NNFAST_ISA
const KernelTable& kernels() {  // gemm.cpp asks for the table; only these are in it
  static const KernelTable table = [] {
    KernelTable t{};
    t.gemm = {&NNFAST_ISA::gemm_f32, &NNFAST_ISA::gemm_f64};
    return t;
  }();
  return table;
}
const PieceUnit* piece_unit() { return nullptr; }
}  // namespace nnfast

using namespace nnfast;
namespace {

double now() {  // of this thread: what other processes take does not count
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}
// The lower quartile of the samples of 0.6 s.
template <class F>
double seconds_of(const F& f) {
  f();
  std::vector<double> samples;
  for (double end = now() + 0.6; now() < end || samples.size() < 5;) {
    const double start = now();
    f();
    samples.push_back(now() - start);
  }
  std::sort(samples.begin(), samples.end());
  return samples[samples.size() / 4];
}
float* matrix(int64_t elements) {
  constexpr size_t HUGE = 1 << 21;
  const size_t bytes = (static_cast<size_t>(elements) * 4 + HUGE) / HUGE * HUGE;
  void* p = std::aligned_alloc(HUGE, bytes);
  madvise(p, bytes, MADV_HUGEPAGE);
  float* x = static_cast<float*>(p);
  for (size_t i = 0; i < bytes / 4; ++i) x[i] = static_cast<float>(std::rand() % 2001 - 1000) / 1000;
  return x;
}
View view(float* data, int64_t rows, int64_t cols) {
  View v;
  v.data = data, v.ndim = 2, v.dtype = DType::float32;
  v.shape[0] = rows, v.shape[1] = cols, v.stride[0] = cols, v.stride[1] = 1;
  return v;
}

// FMAs on registers: as many chains as hide their latency.
double peak() {
#define FMA(n) "vfmadd231ps %%" WIDTH "mm0, %%" WIDTH "mm0, %%" WIDTH "mm" #n "\n\t"
#ifdef __AVX512F__
#define WIDTH "z"
  constexpr double LANES = 16;
#else
#define WIDTH "y"
  constexpr double LANES = 8;
#endif
  constexpr int STEPS = 20000;
  asm volatile("vpxor %%xmm0, %%xmm0, %%xmm0" ::: "xmm0");
  const double seconds = seconds_of([&] {
    for (int s = 0; s < STEPS; ++s)
      asm volatile(FMA(1) FMA(2) FMA(3) FMA(4) FMA(5) FMA(6) FMA(7) FMA(8) FMA(9) FMA(10) FMA(11) FMA(12)::
                       : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
                         "xmm11", "xmm12");
  });
  return 2 * 12 * STEPS * LANES / seconds;
}

// The two loops of multiply_block over a chunk, for all chunks of n^3, with or without each kind of traffic.
struct Traffic {
  bool a, b, c;  // walk through the panels, or stay on the first one
};
double loops(int64_t n, int64_t depth, const Traffic& t, const float* a, const float* b, float* c) {
  const GemmKernels<float>& kernel = kernels().gemm.get<float>();
  const int64_t MR = kernel.mr, NR = kernel.nr, row_tiles = n / MR, col_tiles = n / NR;
  const ChunkShape chunk = chunk_shape(MR, NR, row_tiles, col_tiles, depth);
  GemmFinish<float> f;
  f.beta = t.c ? 1 : 0;
  const double seconds = seconds_of([&] {
    for (int64_t k = 0; k < n / depth; ++k)
      for (int64_t ic = 0; ic < row_tiles; ic += chunk.i)
        for (int64_t jc = 0; jc < col_tiles; jc += chunk.j)
          for (int64_t j = jc; j < std::min(jc + chunk.j, col_tiles); ++j)
            for (int64_t i = ic; i < std::min(ic + chunk.i, row_tiles); ++i)
              kernel.micro(depth, a + (t.a ? i * MR * depth : 0), 1, MR, b + (t.b ? j * NR * depth : 0), NR,
                           c + (t.c ? i * MR * n + j * NR : 0), t.c ? n : NR, static_cast<int>(MR),
                           static_cast<int>(NR), f);
  });
  return 2.0 * static_cast<double>(row_tiles * MR * col_tiles * NR * (n / depth) * depth) / seconds;
}

}  // namespace

int main() {
  set_num_threads(1);
  const double top = peak();
  const GemmKernels<float>& kernel = kernels().gemm.get<float>();
  std::printf("one core, tile %d x %d; FMA on registers: %.0f GFLOP/s; below: share of it\n", kernel.mr, kernel.nr,
              top * 1e-9);
  std::printf("%-44s", "n of n^3");
  const std::vector<int64_t> sizes = {256, 512, 1024, 2048};
  for (int64_t n : sizes) std::printf("%8d", static_cast<int>(n));
  const auto row = [&](const char* what, const auto& speed) {
    std::printf("\n%-44s", what);
    for (int64_t n : sizes) std::printf("%7.1f%%", 100 * speed(n) / top), std::fflush(stdout);
  };
  float *a = matrix(2048 * 2048), *b = matrix(2048 * 2048), *c = matrix(2048 * 2048);
  float *pa = matrix(2112 * 512), *pb = matrix(2112 * 512);
  const auto depth = [&](int64_t n) { return n / ceil_div(n, kernel.mr > 8 ? 512 : 384); };
  const auto with = [&](const char* what, Traffic t) {
    row(what, [&](int64_t n) { return loops(n, depth(n), t, pa, pb, c); });
  };
  with("the micro-kernel: all from L1", {false, false, false});
  with("+ panels of A, from L2", {true, false, false});
  with("+ panels of B", {true, true, false});
  with("+ C read and written: all but packing", {true, true, true});
  row("the whole product", [&](int64_t n) {
    const View x = view(a, n, n), w = view(b, n, n), y = view(c, n, n);
    void* scratch = matrix(static_cast<int64_t>(gemm_scratch(x, w, y) / 4));
    const double seconds =
        seconds_of([&] { gemm(x, w, View{}, 1, 0, Activation::linear, 0, Precision::highest, y, scratch); });
    std::free(scratch);
    return 2.0 * static_cast<double>(n * n * n) / seconds;
  });
  row("packing A and B once, in their time", [&](int64_t n) {
    const int64_t k = depth(n);
    const double seconds = seconds_of([&] {
      for (int64_t p = 0; p + k <= n; p += k) {
        kernel.pack_a(a + p, n, n, k, 1, pa);
        kernel.pack_b(b + p * n, n, 1, k, n, pb);
      }
    });
    return 2.0 * static_cast<double>(n * n * n) / seconds;
  });
  std::printf("\n");
}
