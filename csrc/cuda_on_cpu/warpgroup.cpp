// What sm_90a adds for matrix products: mbarriers, copies by TMA, wgmma, barriers of some warps. Written from the PTX
// ISA and never compared with a GPU. It is as unkind as the hardware may be: a product reads shared memory and writes
// its registers when it is waited for; a copy lands at once or when somebody waits for its mbarrier, now this way, now
// that. Not modelled: that a thread's own stores to shared memory need fence_async before TMA or wgmma may see them,
// and how many registers setmaxnreg leaves.
#include <algorithm>
#include <deque>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

#include "cuda.h"
#include "emulator.h"

namespace emulator {
namespace {

constexpr int WARPGROUP = 128;

std::string at(Where w) { return std::string(w.file) + ":" + std::to_string(w.line); }
[[noreturn]] void wrong(const char* what, const std::string& text, Where where) {
  abandon("[" + std::string(what) + "] " + text + ": thread " + std::to_string(self->id) + " at " + at(where));
}

constexpr int64_t ZEROS = -1;
struct Copy {
  char* shared;
  TensorMap map;
  int column;
  std::vector<int64_t> rows;  // of the map, for each row of the box; or ZEROS
  Where where;
  int bytes() const { return map.box_rows * map.box_columns * 2; }
};
// PTX ISA, "mbarrier": a phase ends when all arrivals and all expected bytes have come; then the next one begins.
struct Mbarrier {
  int arrivals = 0, pending = 0;
  int64_t bytes = 0;
  unsigned phase = 0;
  std::vector<Copy> on_their_way;
  std::vector<Thread*> waiting;
};
struct Product {
  uint64_t a, b;
  int n, issued = 0, waited = 0;
  bool done = false;
  float* d[WARPGROUP] = {};
  Where where;
  std::vector<Thread*> waiting;
};
struct Warpgroup {
  std::deque<Product> products;
  size_t first = 0;  // the number of products.front()
};
struct Progress {  // of a thread with wgmma
  size_t issued = 0, waited = 0;
  std::deque<size_t> groups;  // how many products had been issued at each commit
  bool fenced = false;
};
struct NamedBarrier {
  int threads = 0;
  std::vector<Thread*> waiting;
};
struct State {  // of a block
  std::unordered_map<const uint64_t*, Mbarrier> mbarriers;
  Warpgroup warpgroups[8];
  Progress progress[1024];
  NamedBarrier barriers[16];
};
State* current = nullptr;
State& state() {
  if (!current) current = new State;
  return *current;
}

void resume_all(std::vector<Thread*>& waiting) {
  for (Thread* t : waiting) resume(t);
  waiting.clear();
}

Mbarrier& mbarrier_at(const uint64_t* p, Where where) {
  const auto found = state().mbarriers.find(p);
  if (found == state().mbarriers.end()) wrong("mbarrier", "it has not been initialised", where);
  return found->second;
}

void end_phase_if_complete(Mbarrier& b) {
  if (b.pending || b.bytes) return;
  b.phase ^= 1;
  b.pending = b.arrivals;
  if (hooks.on_handover) hooks.on_handover();
  resume_all(b.waiting);
}

// The 128-byte swizzle, as TMA writes and wgmma reads: bits 7 to 9 of an address change bits 4 to 6.
uintptr_t swizzled(uintptr_t address) { return address ^ ((address >> 7 & 7) << 4); }

void land(Mbarrier& b, const Copy& c) {
  const TensorMap& m = c.map;
  for (int r = 0; r < m.box_rows; ++r)
    for (int e = 0; e < m.box_columns; ++e) {
      const int64_t row = c.rows[static_cast<size_t>(r)], column = int64_t{c.column} + e;
      uint16_t value = 0;  // outside of the matrix
      if (row != ZEROS && column >= 0 && column < m.columns)
        std::memcpy(&value, static_cast<const char*>(m.data) + row * m.pitch + column * 2, 2);
      const auto to = reinterpret_cast<uintptr_t>(c.shared) + static_cast<uintptr_t>((r * m.box_columns + e) * 2);
      std::memcpy(reinterpret_cast<void*>(swizzled(to)), &value, 2);
    }
  for (int r = 0; r < m.box_rows; ++r)
    observe(c.shared + r * m.box_columns * 2, static_cast<size_t>(m.box_columns * 2), Access::copy_lands, c.where);
  b.bytes -= c.bytes();
  if (b.pending == 0 && b.bytes < 0) wrong("mbarrier", "more bytes arrive than it expects", c.where);
  end_phase_if_complete(b);
}

// Element [row, k] of an operand whose k lie together ("K-major"), by its descriptor: bits 0-13 the address of the
// first and 32-45 the distance of groups of eight rows, both of 18 bits without the last four; 62-63 the swizzle.
float element(uint64_t descriptor, int row, int k) {
  const auto field = [&](int bit) { return (descriptor >> bit & 0x3fff) << 4; };
  const uintptr_t base = reinterpret_cast<uintptr_t>(dynamic_base());
  const uintptr_t start = base + ((field(0) - base) & 0x3ffff);
  const auto step = static_cast<uintptr_t>(row / 8) * field(32) + static_cast<uintptr_t>(row % 8 * 128 + k * 2);
  uint16_t bits;
  std::memcpy(&bits, reinterpret_cast<void*>(swizzled(start + step)), 2);
  return std::bit_cast<float>(unsigned{bits} << 16);
}

void check(uint64_t descriptor, int rows, Where where) {
  if (descriptor >> 62 != 1)
    wrong("wgmma", "only operands with the swizzle of 128 bytes (1 in bits 62-63) are emulated", where);
  const uintptr_t base = reinterpret_cast<uintptr_t>(dynamic_base());
  const uintptr_t start = (((descriptor & 0x3fff) << 4) - base) & 0x3ffff;
  const uintptr_t end = start + static_cast<uintptr_t>(rows / 8 - 1) * ((descriptor >> 32 & 0x3fff) << 4) + 8 * 128;
  if (end - start % 128 > config->shared_bytes)
    wrong("wgmma", "an operand does not lie in the dynamic shared memory of the launch", where);
  if (descriptor >> 49 & 7 || (start + base) >> 7 & 7)
    wrong("wgmma", "the eight rows that are swizzled together must begin at a multiple of 1024 bytes", where);
  if ((start + base) % 128 > 96) wrong("wgmma", "16 numbers from there on are not in one row of 128 bytes", where);
}

void multiply(Product& p) {
  static float a[64][16], b[16][256];
  static double sum[256];
  for (int i = 0; i < 64; ++i)
    for (int k = 0; k < 16; ++k) a[i][k] = element(p.a, i, k);
  for (int k = 0; k < 16; ++k)
    for (int j = 0; j < p.n; ++j) b[k][j] = element(p.b, j, k);
  for (int i = 0; i < 64; ++i) {
    // Row 16 w + g and row 16 w + g + 8 lie in lanes 4 g + t of warp w, columns 8 j + 2 t and 8 j + 2 t + 1.
    const auto d = [&](int j) -> float& {
      return p.d[i / 16 * 32 + i % 8 * 4 + j % 8 / 2][j / 8 * 4 + i % 16 / 8 * 2 + j % 2];
    };
    for (int j = 0; j < p.n; ++j) sum[j] = d(j);
    for (int k = 0; k < 16; ++k)
      for (int j = 0; j < p.n; ++j) sum[j] += double{a[i][k]} * b[k][j];
    for (int j = 0; j < p.n; ++j) d(j) = static_cast<float>(sum[j]);
  }
  p.done = true;
}

}  // namespace

void mbarrier_init(const uint64_t* p, unsigned arrivals, Where where) {
  if (arrivals == 0 || arrivals >= 1 << 20) wrong("mbarrier", "it counts 1 to 2^20 - 1 arrivals", where);
  Mbarrier b;
  b.arrivals = b.pending = static_cast<int>(arrivals);
  state().mbarriers[p] = b;
}

void mbarrier_arrive(const uint64_t* p, unsigned expect_bytes, Where where) {
  Mbarrier& b = mbarrier_at(p, where);
  if (b.pending == 0) wrong("mbarrier", "more arrivals than it counts, while its bytes are on their way", where);
  b.bytes += expect_bytes;
  if (b.bytes >= 1 << 20) wrong("mbarrier", "it counts at most 2^20 - 1 bytes", where);
  --b.pending;
  if (b.pending || b.bytes) return;
  std::vector<Thread*> waiting;
  waiting.swap(b.waiting);
  end_phase_if_complete(b);
  if (!waiting.empty()) go_ahead(waiting);
}

void mbarrier_wait(const uint64_t* p, unsigned parity, Where where) {
  Mbarrier& b = mbarrier_at(p, where);
  for (std::vector<Copy> landing; !b.on_their_way.empty();) {
    landing.swap(b.on_their_way);
    for (const Copy& c : landing) land(b, c);
    landing.clear();
  }
  while (b.phase == (parity & 1)) {
    b.waiting.push_back(self);
    suspend("an mbarrier", where);
  }
}

namespace {
void begin_copy(const Copy& c, const uint64_t* p) {
  Mbarrier& b = mbarrier_at(p, c.where);
  const TensorMap& map = c.map;
  const auto offset = static_cast<size_t>(c.shared - dynamic_base());
  if (reinterpret_cast<uintptr_t>(c.shared) % 1024 != 0)
    wrong("tma", "a tile that is swizzled by 128 bytes must begin at a multiple of 1024 bytes", c.where);
  if (c.shared < dynamic_base() || offset + static_cast<size_t>(c.bytes()) > config->shared_bytes)
    wrong("tma", "the tile does not lie in the dynamic shared memory of the launch", c.where);
  for (const int64_t r : c.rows) {
    const int64_t begin = std::max(c.column, 0),
                  end = std::min<int64_t>(map.columns, int64_t{c.column} + map.box_columns);
    if (r == ZEROS || begin >= end) continue;
    const char* from = static_cast<const char*>(map.data) + r * map.pitch + begin * 2;
    observe(from, static_cast<size_t>(end - begin) * 2, Access::load, c.where);
  }
  static unsigned count = 0;
  if (b.waiting.empty() && count++ * 2654435761u >> 31)
    b.on_their_way.push_back(c);
  else
    land(b, c);
}
}  // namespace

void tma_load(void* shared, const TensorMap& map, int column, int row, const uint64_t* p, Where where) {
  Copy c{static_cast<char*>(shared), map, column, {}, where};
  if (map.is_images) wrong("tma", "a map of images is for tma_load_pixels", where);
  for (int64_t r = row; r < int64_t{row} + map.box_rows; ++r) c.rows.push_back(r >= 0 && r < map.rows ? r : ZEROS);
  begin_copy(c, p);
}

// PTX ISA, "Tensors", "im2col mode": pixels of the bounding box follow each other along W, then H, then N, `step`
// apart; the offsets move all of them. Outside of the images there are zeros.
void tma_load_pixels(void* shared, const TensorMap& map, const int (&from)[4], const int (&offset)[2],
                     const uint64_t* p, Where where) {
  Copy c{static_cast<char*>(shared), map, from[0], {}, where};
  if (!map.is_images) wrong("tma", "tma_load_pixels takes a map of images", where);
  int64_t at[2] = {from[1], from[2]}, n = from[3], last[2];
  for (int d = 0; d < 2; ++d) {
    last[d] = map.size[d] - 1 + map.upper[d];
    if (at[d] < map.lower[d] || at[d] > last[d])
      wrong("tma", "the first pixel lies outside of the bounding box", where);
    if (offset[d] < 0 || offset[d] > 255) wrong("tma", "offsets of pixels are 0 to 255", where);
  }
  for (int r = 0; r < map.box_rows; ++r) {
    const int64_t w = at[0] + offset[0], h = at[1] + offset[1], row = (n * map.size[1] + h) * map.size[0] + w;
    const bool inside = w >= 0 && w < map.size[0] && h >= 0 && h < map.size[1] && n >= 0 && row < map.rows;
    c.rows.push_back(inside ? row : ZEROS);
    if ((at[0] += map.step[0]) <= last[0]) continue;
    at[0] = map.lower[0];
    if ((at[1] += map.step[1]) <= last[1]) continue;
    at[1] = map.lower[1];
    ++n;
  }
  begin_copy(c, p);
}

TensorMap image_map(const TensorMap& m) {
  bool right = reinterpret_cast<uintptr_t>(m.data) % 16 == 0 && m.pitch % 16 == 0 && m.rows > 0 && m.columns > 0 &&
               m.box_rows <= 1024 && m.box_columns == 64;
  for (int d = 0; d < 2; ++d)
    right = right && m.size[d] > 0 && m.lower[d] >= -128 && m.lower[d] <= 127 && m.upper[d] >= -128 &&
            m.upper[d] <= 127 && m.step[d] >= 1 && m.step[d] <= 8 && m.size[d] + m.upper[d] > m.lower[d];
  if (!right) throw std::runtime_error("[tma] a driver would refuse this map of images");
  return m;
}

void wgmma_fence() { state().progress[self->id].fenced = true; }

void wgmma(float* d, int n, uint64_t a, uint64_t b, Where where) {
  Progress& mine = state().progress[self->id];
  Warpgroup& group = state().warpgroups[self->id / WARPGROUP];
  if (!mine.fenced) wrong("wgmma", "wgmma_fence comes before the first product and after registers were used", where);
  check(a, 64, where);
  check(b, n, where);
  const size_t index = mine.issued++ - group.first;
  if (index == group.products.size()) group.products.push_back({a, b, n, 0, 0, false, {}, where, {}});
  Product& p = group.products[index];
  if (p.a != a || p.b != b || p.n != n)
    wrong("wgmma", "the threads of a warpgroup give different operands; one of them came from " + at(p.where), where);
  p.d[self->id % WARPGROUP] = d;
  if (++p.issued == WARPGROUP) resume_all(p.waiting);
}

void wgmma_commit() {
  Progress& mine = state().progress[self->id];
  mine.groups.push_back(mine.issued);
}

void wgmma_wait(int pending, Where where) {
  Progress& mine = state().progress[self->id];
  Warpgroup& group = state().warpgroups[self->id / WARPGROUP];
  for (; static_cast<int>(mine.groups.size()) > pending; mine.groups.pop_front())
    for (; mine.waited < mine.groups.front(); ++mine.waited) {
      Product& p = group.products[mine.waited - group.first];
      if (p.issued < WARPGROUP) {
        p.waiting.push_back(self);
        suspend("the other warps of its warpgroup to begin a wgmma", where);
      }
      if (!p.done) multiply(p);
      ++p.waited;
      while (!group.products.empty() && group.products.front().waited == WARPGROUP) {
        group.products.pop_front();
        ++group.first;
      }
    }
  if (pending == 0) mine.fenced = false;
}

uint16_t bfloat16_bits(float x) {
  const auto bits = std::bit_cast<unsigned>(x);
  if (x != x) return 0x7fff;
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

void named_barrier(int id, int threads, Where where) {
  if (id < 1 || id > 15 || threads % 32 != 0 ||
      threads > static_cast<int>(config->block.x * config->block.y * config->block.z))
    wrong("barrier", "its number is 1 to 15, and it is for whole warps of the block", where);
  NamedBarrier& b = state().barriers[id];
  if (!b.waiting.empty() && b.threads != threads)
    wrong("barrier", "another thread waits there for " + std::to_string(b.threads) + " threads", where);
  b.threads = threads;
  if (static_cast<int>(b.waiting.size()) + 1 == threads) {
    if (hooks.on_handover) hooks.on_handover();
    return resume_all(b.waiting);
  }
  b.waiting.push_back(self);
  suspend("a barrier of some warps", where);
}

void forget_warpgroups() {
  delete current;
  current = nullptr;
}

}  // namespace emulator
