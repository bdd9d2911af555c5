// What the modules of the CUDA kernels say of tensor cores, under the names that _cpu has for its units.
#pragma once
#include "../cuda/tensor_cores.h"
#include "module.h"

namespace nnfast {

inline void bind_tensor_cores(py::module_& m) {
  m.def(
      "matmul_unit",
      [](int precision) {
        require(precision >= 0 && precision <= 2, "[matmul_unit] precision must be 0, 1 or 2. Received: ", precision);
        return !pieces_at(static_cast<Precision>(precision)) ? "" : wgmma_is_used() ? "wgmma" : "tensor cores";
      },
      py::arg("precision"),
      "What multiplies large float32 matrices as bfloat16 pieces at this precision; '': nothing.");
  m.def(
      "use_gemm_path",
      [](const std::string& name) {
        constexpr const char* PATHS[] = {"automatic", "pieces", "six products", "wgmma"};
        for (int i = 0; i < 4; ++i)
          if (name == PATHS[i]) return use_pieces(static_cast<PiecePath>(i));
        throw std::invalid_argument("[gemm path] unknown. Received: '" + name + "'");
      },
      py::arg("name"),
      "Forces, below highest, pieces for products of any size, or at highest six products of them; wgmma: both, "
      "by that instruction; automatic: none.");
}

}  // namespace nnfast
