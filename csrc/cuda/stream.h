// The stream on which the ops of a call start their kernels.
#pragma once

using cudaStream_t = struct CUstream_st*;

namespace nnfast {

cudaStream_t stream();  // the binding sets it for each call

}  // namespace nnfast
