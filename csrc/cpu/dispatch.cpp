// Which ISA runs: the first of the list that this CPU can, or the one that NNFAST_ISA names.
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#include "kernels.h"

namespace nnfast {

namespace portable {
extern const KernelTable table;
}
namespace simulated {
extern const KernelTable table;
}
#if defined(__x86_64__)
namespace avx2 {
extern const KernelTable table;
}
namespace avx512 {
extern const KernelTable table;
}
#endif

namespace {
bool always() { return true; }
#if defined(__x86_64__)
bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}
#endif
std::atomic<const KernelTable*> in_use{nullptr};

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

const IsaRow isa_rows[] = {
#if defined(__x86_64__)
    {&avx512::table, has_avx512, true},
    {&avx2::table, has_avx2, true},
#endif
    {&portable::table, always, true},
    {&simulated::table, always, false},
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

void use_isa(const char* name) { in_use.store(find(name), std::memory_order_release); }

}  // namespace nnfast
