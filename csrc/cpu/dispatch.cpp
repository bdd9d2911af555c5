// Which ISA runs: the first of the list that this CPU can, or the one that NNFAST_ISA names.
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "kernels.h"

namespace nnfast {

namespace simulated_amx {
extern const PieceGemm gemm_high, gemm_medium;
}
namespace simulated_bf16 {
extern const PieceGemm gemm_medium;
extern const PieceConv conv_medium;
}  // namespace simulated_bf16
namespace portable {
extern const KernelTable table;
}
namespace simulated {
extern const KernelTable table;
}
namespace neon {
extern const KernelTable table;
}
namespace avx2 {
extern const KernelTable table;
}
namespace avx512 {
extern const KernelTable table;
}
namespace avx512_bf16 {
extern const PieceGemm gemm_medium;
extern const PieceConv conv_medium;
}  // namespace avx512_bf16
namespace amx {
extern const PieceGemm gemm_high, gemm_medium;
}

namespace {
[[maybe_unused]] bool always() { return true; }
#if defined(__x86_64__)
[[maybe_unused]] bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
[[maybe_unused]] bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}
[[maybe_unused]] bool has_avx512_bf16() {
  unsigned a, b, c, d;
  return has_avx512() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 5 & 1);
}
// The CPU has tiles, the system saves them, and lets this process use them: Linux wants to be asked.
[[maybe_unused]] bool has_amx() {
#if defined(__linux__)
  unsigned a, b, c, d;
  if (!has_avx512() || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d >> 22 & 1) || !(d >> 24 & 1)) return false;
  unsigned low, high;
  asm("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  constexpr unsigned TILES = 3u << 17;                         // XTILECFG and XTILEDATA
  constexpr long REQUEST_PERMISSION = 0x1023, TILE_DATA = 18;  // ARCH_REQ_XCOMP_PERM
  return (low & TILES) == TILES && syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
#else
  return false;
#endif
}
[[maybe_unused]] bool wants_amx() {
  static const bool wanted = [] {
    const char* value = std::getenv("NNFAST_AMX");
    return value && std::strcmp(value, "1") == 0;
  }();
  return wanted;
}
#endif
std::atomic<const KernelTable*> in_use{nullptr};
constexpr PieceUnit no_unit = {"", nullptr, nullptr, nullptr};
std::atomic<const PieceUnit*> unit_in_use{nullptr};  // nullptr: not looked for yet

const KernelTable* find(const char* name) {
  std::string known;
  for (int i = 0; i < isa_count; ++i) {
    const IsaRow& row = isa_rows[i];
    if (std::strcmp(row.table->name, name) == 0) {
      if (row.runs_here()) return row.table;
      throw std::invalid_argument(std::string("[isa] this CPU cannot run '") + name +
                                  "'. Leave NNFAST_ISA unset to take the best.");
    }
    known += std::string(known.empty() ? "" : ", ") + row.table->name;
  }
  throw std::invalid_argument(std::string("[isa] unknown ISA. Received: '") + name + "'. Known here: " + known + ".");
}

const KernelTable* best() {
  if (const char* forced = std::getenv("NNFAST_ISA"); forced && *forced) return find(forced);
  for (int i = 0; i < isa_count; ++i)
    if (isa_rows[i].chosen_by_default && isa_rows[i].runs_here()) return isa_rows[i].table;
  return isa_rows[isa_count - 1].table;
}
}  // namespace

// HAS_<isa>: it is built (CMake's NNFAST_ISAS).
const IsaRow isa_rows[] = {
#ifdef HAS_avx512
    {&avx512::table, has_avx512, true},
#endif
#ifdef HAS_avx2
    {&avx2::table, has_avx2, true},
#endif
#ifdef HAS_neon
    {&neon::table, always, true},  // every 64-bit ARM has it
#endif
    {&portable::table, always, true},
#ifdef HAS_simulated
    {&simulated::table, always, false},
#endif
};
const int isa_count = sizeof isa_rows / sizeof isa_rows[0];

const KernelTable& kernels() {
  const KernelTable* t = in_use.load(std::memory_order_acquire);
  if (!t) {
    t = best();
    in_use.store(t, std::memory_order_release);
  }
  return *t;
}

void use_isa(const char* name) {
  in_use.store(find(name), std::memory_order_release);
  unit_in_use.store(nullptr, std::memory_order_release);
}

namespace {
#ifdef HAS_simulated
constexpr PieceUnit simulated_amx_unit = {"simulated_amx", &simulated_amx::gemm_high, &simulated_amx::gemm_medium,
                                          nullptr};
constexpr PieceUnit simulated_bf16_unit = {"simulated_bf16", nullptr, &simulated_bf16::gemm_medium,
                                           &simulated_bf16::conv_medium};
#endif
#ifdef HAS_avx512
constexpr PieceUnit amx_unit = {"amx", &amx::gemm_high, &amx::gemm_medium, nullptr};
constexpr PieceUnit avx512_bf16_unit = {"avx512_bf16", nullptr, &avx512_bf16::gemm_medium, &avx512_bf16::conv_medium};
#endif
}  // namespace

// AMX has been tested by its simulation alone, so it waits for NNFAST_AMX=1.
const PieceRow piece_rows[] = {
#ifdef HAS_avx512
    {&amx_unit, &avx512::table, has_amx, wants_amx},
    {&avx512_bf16_unit, &avx512::table, has_avx512_bf16, always},
#endif
#ifdef HAS_simulated
    {&simulated_amx_unit, &simulated::table, always, always},
    {&simulated_bf16_unit, &simulated::table, always, always},
#endif
    {},
};
const int piece_count = sizeof piece_rows / sizeof piece_rows[0] - 1;  // the last row, which no build lacks, is empty

const PieceUnit* piece_unit() {
  const PieceUnit* unit = unit_in_use.load(std::memory_order_acquire);
  if (!unit) {
    unit = &no_unit;
    const KernelTable* table = &kernels();
    for (int i = piece_count - 1; i >= 0; --i) {
      const PieceRow& row = piece_rows[i];
      if (row.beside == table && row.chosen_by_default() && row.runs_here()) unit = row.unit;
    }
    unit_in_use.store(unit, std::memory_order_release);
  }
  return unit == &no_unit ? nullptr : unit;
}

void use_piece_unit(const char* name) {
  if (!*name) return unit_in_use.store(&no_unit, std::memory_order_release);
  for (int i = 0; i < piece_count; ++i) {
    const PieceRow& row = piece_rows[i];
    if (std::strcmp(row.unit->name, name) == 0 && row.beside == &kernels() && row.runs_here())
      return unit_in_use.store(row.unit, std::memory_order_release);
  }
  throw std::invalid_argument(std::string("[matmul unit] it does not run here beside the ISA '") + kernels().name +
                              "'. Received: '" + name + "'.");
}

}  // namespace nnfast
