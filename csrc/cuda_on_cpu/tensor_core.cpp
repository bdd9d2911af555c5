// mma.sync, ldmatrix and cp.async. Registers are laid out as the PTX ISA says ("Matrix fragments for mma.m16n8k16" and
// "ldmatrix"); products and their sum are exact to float64 and rounded once per instruction, where the hardware rounds
// in a way that is not documented: so results agree within the error of a float32 sum, not bit for bit.
#include <deque>
#include <vector>

#include "cuda.h"
#include "emulator.h"

namespace emulator {
namespace {

struct Mma {
  float* d;
  const unsigned *a, *b;
};

float bf16_at(unsigned word, int half) { return std::bit_cast<float>(half ? word & 0xffff0000u : word << 16); }
float tf32_of(unsigned word) { return std::bit_cast<float>(word & 0xffffe000u); }  // what the unit reads of a float

// d[16,8] += a[16,K] * b[K,8]; lane 4 g + t holds rows g and g + 8, columns 2 t and 2 t + 1 of d.
template <int K, class LoadA, class LoadB>
void multiply(void* const* lanes, LoadA load_a, LoadB load_b) {
  float a[16][K], b[K][8];
  for (int lane = 0; lane < 32; ++lane) {
    const auto* m = static_cast<Mma*>(lanes[lane]);
    load_a(a, m->a, lane / 4, lane % 4);
    load_b(b, m->b, lane / 4, lane % 4);
  }
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
      float& d = static_cast<Mma*>(lanes[lane])->d[i];
      double sum = d;
      for (int k = 0; k < K; ++k) sum += double{a[row][k]} * b[k][column];
      d = static_cast<float>(sum);
    }
}

struct Copy {
  void* to;
  const void* from;
  int bytes, valid;
  Where where;
};
struct Queue {  // of one CUDA thread
  std::vector<Copy> open;
  std::deque<std::vector<Copy>> groups;
};
std::vector<Queue>& queues() {
  static auto* all = new std::vector<Queue>(1024);
  return *all;
}
bool any_copies = false;
Queue& mine() { return queues()[static_cast<size_t>(self->id)]; }

}  // namespace

void mma_m16n8k16_bf16(float* d, const unsigned* a, const unsigned* b, Where where) {
  Mma mma{d, a, b};
  collective(
      ~0u,
      [](unsigned, void* const* lanes) {
        multiply<16>(
            lanes,
            [](auto& to, const unsigned* r, int g, int t) {
              for (int i = 0; i < 4; ++i)
                for (int h = 0; h < 2; ++h) to[g + i % 2 * 8][t * 2 + h + i / 2 * 8] = bf16_at(r[i], h);
            },
            [](auto& to, const unsigned* r, int g, int t) {
              for (int i = 0; i < 2; ++i)
                for (int h = 0; h < 2; ++h) to[t * 2 + h + i * 8][g] = bf16_at(r[i], h);
            });
      },
      &mma, where);
}

void mma_m16n8k8_tf32(float* d, const unsigned* a, const unsigned* b, Where where) {
  Mma mma{d, a, b};
  collective(
      ~0u,
      [](unsigned, void* const* lanes) {
        multiply<8>(
            lanes,
            [](auto& to, const unsigned* r, int g, int t) {
              for (int i = 0; i < 4; ++i) to[g + i % 2 * 8][t + i / 2 * 4] = tf32_of(r[i]);
            },
            [](auto& to, const unsigned* r, int g, int t) {
              for (int i = 0; i < 2; ++i) to[t + i * 4][g] = tf32_of(r[i]);
            });
      },
      &mma, where);
}

// Matrix i of 8x8 16-bit elements: lane 8 i + r gives the address of its row r; lane l receives the elements 2 (l % 4)
// and 2 (l % 4) + 1 of row l / 4 or, transposed, of column l / 4.
void ldmatrix(unsigned* r, int count, bool transposed, const void* row, Where where) {
  struct Load {
    unsigned* r;
    const uint16_t* row;
    int count;
    bool transposed;
  } load{r, static_cast<const uint16_t*>(row), count, transposed};
  if (reinterpret_cast<uintptr_t>(row) % 16 != 0)
    abandon("[ldmatrix] a row must begin at a multiple of 16 bytes: thread " + std::to_string(self->id) + " at " +
            where.file + ":" + std::to_string(where.line));
  if (self->lane < 8 * count) observe(row, 16, Access::load, where);
  collective(
      ~0u,
      [](unsigned, void* const* lanes) {
        for (int lane = 0; lane < 32; ++lane) {
          auto* to = static_cast<Load*>(lanes[lane]);
          for (int i = 0; i < to->count; ++i) {
            const auto element = [&](int k) -> unsigned {
              const int row = to->transposed ? lane % 4 * 2 + k : lane / 4;
              const int column = to->transposed ? lane / 4 : lane % 4 * 2 + k;
              return static_cast<Load*>(lanes[i * 8 + row])->row[column];
            };
            to->r[i] = element(0) | element(1) << 16;
          }
        }
      },
      &load, where);
}

// A copy lands when it is waited for, as late as the hardware may: a missing wait shows.
void cp_async(void* shared, const void* global, int bytes, int valid, Where where) {
  any_copies = true;
  if (valid > 0) observe(global, static_cast<size_t>(valid), Access::load, where);
  observe(shared, static_cast<size_t>(bytes), Access::copy_begins, where);
  mine().open.push_back({shared, global, bytes, valid, where});
}
void cp_async_commit() {
  mine().groups.push_back(std::move(mine().open));
  mine().open.clear();
}
void cp_async_wait(int pending) {
  auto& groups = mine().groups;
  for (; static_cast<int>(groups.size()) > pending; groups.pop_front())
    for (const Copy& c : groups.front()) {
      observe(c.to, static_cast<size_t>(c.bytes), Access::copy_lands, c.where);
      std::memcpy(c.to, c.from, static_cast<size_t>(c.valid));
      std::memset(static_cast<char*>(c.to) + c.valid, 0, static_cast<size_t>(c.bytes - c.valid));
    }
}

void forget_copies() {
  if (!any_copies) return;
  for (Queue& q : queues()) {
    q.open.clear();
    q.groups.clear();
  }
  any_copies = false;
}

}  // namespace emulator
