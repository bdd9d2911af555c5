// Not ops: the ISA, threads, how gemm goes about a product.
#include "../cpu/gemm_blocks.h"
#include "../cpu/kernels.h"
#include "../cpu/parallel.h"
#include "module.h"

namespace nnfast {
namespace {

constexpr const char* PATHS[] = {"automatic", "packed", "direct", "columns", "few rows", "pieces"};
std::string path_of(py::handle a_, py::handle b_) {
  Call call("gemm_path");
  const View a = call.in_float(a_, "a"), b = call.in_like(b_, "b", a);
  call.require(a.ndim == 2 && b.ndim == 2 && a.shape[1] == b.shape[0],
               "a and b must be matrices that can be multiplied. Received: a.shape=", a, ", b.shape=", b);
  View y;
  Array out = call.out(py::none(), {a.shape[0], b.shape[1]}, a.dtype, y);
  return PATHS[static_cast<int>(gemm_path(a, b, y, call.scratch(gemm_scratch(a, b, y))))];
}
void use_path(const std::string& name) {
  for (size_t i = 0; i < std::size(PATHS); ++i)
    if (name == PATHS[i]) return force_gemm_path(static_cast<GemmPath>(i));
  throw std::invalid_argument("[gemm path] unknown. Received: '" + name + "'");
}

}  // namespace

void bind_runtime(py::module_& m) {
  m.def("isa", [] { return kernels().name; }, "Name of the instruction set in use.");
  m.def(
      "isas",
      [] {
        std::vector<std::string> names;
        for (int i = 0; i < isa_count; ++i)
          if (isa_rows[i].runs_here()) names.emplace_back(isa_rows[i].table->name);
        return names;
      },
      "Instruction sets that this CPU can run, best first.");
  m.def(
      "use_isa", [](const std::string& name) { use_isa(name.c_str()); }, py::arg("name"),
      "Switch the instruction set (tests, benchmarks).");
  m.def(
      "matmul_units",
      [] {
        std::vector<std::string> names;
        for (int i = 0; i < piece_count; ++i)
          if (piece_rows[i].beside == &kernels() && piece_rows[i].runs_here())
            names.emplace_back(piece_rows[i].unit->name);
        return names;
      },
      "What could multiply bfloat16 pieces beside the instruction set in use.");
  m.def(
      "matmul_unit",
      [](int precision) {
        const PieceUnit* unit = piece_unit();
        const bool used = unit && ((precision == 1 && unit->high) || (precision == 2 && unit->medium));
        return used ? unit->name : "";
      },
      py::arg("precision"), "What multiplies float32 matrices as bfloat16 pieces at this precision; '': float32 does.");
  m.def(
      "use_matmul_unit", [](const std::string& name) { use_piece_unit(name.c_str()); }, py::arg("name"),
      "Switch the unit, until the next use_isa (tests, benchmarks); '': none.");
  m.def("gemm_path", path_of, py::arg("a"), py::arg("b"), "How gemm goes about this product of matrices (benchmarks).");
  m.def("use_gemm_path", use_path, py::arg("name"),
        "Forces packed, direct, columns, few rows or, below highest, pieces; automatic: none (benchmarks).");
  m.def(
      "set_num_threads",
      [](int n) {
        require(n >= 1, "[set_num_threads] at least one thread is needed. Received: ", n);
        set_num_threads(n);
      },
      py::arg("n"));
  m.def("num_threads", num_threads);
}

}  // namespace nnfast
