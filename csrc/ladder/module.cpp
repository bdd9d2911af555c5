// The module _ladder: where the rungs lie in memory, and what this machine can do at best. Python calls a rung by its
// address, as it calls a student's own file. Nothing that ships uses this module.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <tuple>
#include <vector>
#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif
#ifdef __x86_64__
#include <cpuid.h>
#endif

#include "../cpu/parallel.h"
#include "peaks.h"

extern "C" {
void (*nnfast_parallel)(nnfast::Chunk, const void*, int64_t, int64_t) = nnfast::run_chunks;
#define RUNG(op, number, isa) void op##_##number##_##isa();
#define ISA(name) extern const nnfast::Peaks peaks_##name;
#include "ladder_rungs.inl"
#undef RUNG
#undef ISA
}

namespace {
using namespace nnfast;

bool runs_amx() {
#if defined(__x86_64__) && defined(__linux__) && defined(SYS_arch_prctl)
  unsigned a, b, c, d;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
  const bool bf16 = d >> 22 & 1, tiles = d >> 24 & 1;
  // The tile registers are 8 KB that the system saves only for a process that has asked: Linux's
  // Documentation/arch/x86/xstate.rst, ARCH_REQ_XCOMP_PERM and XFEATURE_XTILEDATA.
  return bf16 && tiles && syscall(SYS_arch_prctl, 0x1023, 18) == 0;
#else
  return false;
#endif
}

bool runs(const std::string& isa) {
#ifdef __x86_64__
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  if (isa == "avx2") return avx2;
  if (isa == "avx512") return avx512;
  if (isa == "amx") return avx512 && runs_amx();
#endif
  return isa == "portable";
}

struct Rung {
  const char* op;
  int number;
  const char* isa;
  void (*address)();
};
const Rung rungs[] = {
#define RUNG(op, number, isa) {#op, number, #isa, op##_##number##_##isa},
#define ISA(name)
#include "ladder_rungs.inl"
#undef RUNG
#undef ISA
};

struct Isa {
  const char* name;
  const Peaks* peaks;
};
const Isa isas[] = {
#define RUNG(op, number, isa)
#define ISA(name) {#name, &peaks_##name},
#include "ladder_rungs.inl"
#undef RUNG
#undef ISA
};

const Peaks& peaks_of(const std::string& isa) {
  for (const Isa& i : isas)
    if (isa == i.name && runs(isa)) return *i.peaks;
  throw pybind11::value_error("[ladder] this CPU has no instruction set of that name. Received: '" + isa + "'");
}

constexpr int64_t PIECE = 1 << 18;  // bytes that a thread copies or reads at a time
}  // namespace

PYBIND11_MODULE(_ladder, m, pybind11::mod_gil_not_used()) {
  namespace py = pybind11;
  m.doc() = "The rungs of the ladder, and the limits of this machine.";
  m.def(
      "isas",
      [] {
        std::vector<std::string> names;
        for (const Isa& i : isas)
          if (runs(i.name)) names.emplace_back(i.name);
        return names;
      },
      "Instruction sets that this CPU can run, best first.");
  m.def("has_amx", [] { return runs("amx"); }, "Whether this CPU and system have AMX's tiles of bfloat16.");
  m.def(
      "rungs",
      [] {
        std::vector<std::tuple<std::string, int, std::string, uintptr_t>> all;
        for (const Rung& r : rungs)
          if (runs(r.isa)) all.emplace_back(r.op, r.number, r.isa, reinterpret_cast<uintptr_t>(r.address));
        return all;
      },
      "(op, number, instruction set, address) of each compiled rung that this CPU can run.");
  m.def(
      "parallel", [] { return reinterpret_cast<uintptr_t>(nnfast_parallel); },
      "Address of the function that shares work among threads; a student's file is given it.");
  m.def("set_num_threads", set_num_threads, py::arg("n"), "How many threads parallel_for uses.");
  m.def(
      "multiply_add",
      [](const std::string& isa, int threads, int64_t rounds) {
        const Peaks& peaks = peaks_of(isa);
        const py::gil_scoped_release release;
        parallel_for(threads, 1, [&](int64_t, int64_t) { peaks.multiply_add(rounds); });  // a piece each
        return static_cast<double>(threads) * static_cast<double>(rounds) * peaks.operations;
      },
      py::arg("isa"), py::arg("threads"), py::arg("rounds"),
      "Multiplies and adds in registers alone, on each thread; returns the number of operations.");
  m.def(
      "copy_bytes",
      [](const py::buffer& from, const py::buffer& to) {
        const py::buffer_info x = from.request(), y = to.request(true);
        const auto* source = static_cast<const char*>(x.ptr);
        auto* target = static_cast<char*>(y.ptr);
        const int64_t bytes = std::min(x.size * x.itemsize, y.size * y.itemsize);
        const py::gil_scoped_release release;
        parallel_for(bytes, PIECE, [&](int64_t begin, int64_t end) {
          std::memcpy(target + begin, source + begin, static_cast<size_t>(end - begin));
        });
      },
      py::arg("from_"), py::arg("to"), "Copies the bytes, shared among the threads.");
  m.def(
      "read_bytes",
      [](const std::string& isa, const py::buffer& from) {
        const Peaks& peaks = peaks_of(isa);
        const py::buffer_info x = from.request();
        const auto* source = static_cast<const float*>(x.ptr);
        const int64_t n = x.size * x.itemsize / 4;
        const py::gil_scoped_release release;
        parallel_for(n, PIECE / 4, [&](int64_t begin, int64_t end) { peaks.read(source + begin, end - begin); });
      },
      py::arg("isa"), py::arg("from_"), "Reads the bytes, shared among the threads.");
}
