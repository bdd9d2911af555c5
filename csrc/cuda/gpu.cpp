#include "gpu.h"

#include <cuda_runtime_api.h>

#include <atomic>

#include "failure.h"
#include "tensor_cores.h"

namespace nnfast {
namespace {
std::string version(int number) { return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10); }
}  // namespace

std::string cuda_versions() {
  int runtime = 0, driver = 0;
  cudaRuntimeGetVersion(&runtime);
  cudaDriverGetVersion(&driver);
  return "CUDA " + version(runtime) + (driver ? ", driver for CUDA " + version(driver) : ", no driver") +
         ", built for " NNFAST_BUILT_FOR;
}

std::string gpu_problem() {
  int driver = 0, count = 0;
  cudaDriverGetVersion(&driver);
  if (driver == 0)
    return "there is no NVIDIA driver on this machine. Install one, or use set_device('cuda-emulator'), which runs the "
           "same kernels on the CPU";
  const cudaError_t code = cudaGetDeviceCount(&count);
  succeeded(code);
  if (code == cudaErrorInsufficientDriver)
    return "the NVIDIA driver is too old: " + cuda_versions() +
           ". Update the driver, or build nnfast with an older CUDA toolkit";
  if (code != cudaSuccess) return std::string("CUDA says: ") + cudaGetErrorString(code);
  if (count == 0) return "the driver sees no GPU. Is CUDA_VISIBLE_DEVICES set?";
  return "";
}

int gpu_of(const void* data) {
  cudaPointerAttributes about{};
  if (!succeeded(cudaPointerGetAttributes(&about, data)) || about.type == cudaMemoryTypeUnregistered ||
      about.type == cudaMemoryTypeHost)
    return -1;
  return about.device;
}

int current_gpu() {
  int device = 0;
  succeeded(cudaGetDevice(&device));
  return device;
}

int compute_capability() {
  static std::atomic<int> known[64];  // 0: not asked yet
  const int gpu = current_gpu();
  std::atomic<int>& answer = known[gpu & 63];
  if (answer == 0 || gpu > 63) {
    int major = 0, minor = 0;
    if (!succeeded(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, gpu)) ||
        !succeeded(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, gpu)))
      return 0;
    answer = major * 10 + minor;
  }
  return answer;
}

int multiprocessors() {
  int count = 1;
  succeeded(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, current_gpu()));
  return count;
}

void wait_for(cudaStream_t stream) { check_cuda(cudaStreamSynchronize(stream)); }

void order_after(cudaStream_t first, cudaStream_t then) {
  cudaEvent_t event = nullptr;
  check_cuda(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  cudaError_t code = cudaEventRecord(event, first);
  if (code == cudaSuccess) code = cudaStreamWaitEvent(then, event, 0);
  cudaEventDestroy(event);  // takes effect when the event has happened
  check_cuda(code);
}

void copy_to_host(void* to, const void* from, size_t bytes, cudaStream_t stream) {
  check_cuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream));
  wait_for(stream);
}

// ---- graphs ----
namespace {
// A stream that records instead of running. The default stream cannot.
class Recorder {
 public:
  Recorder() {
    check_cuda(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
    try {
      check_cuda(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeRelaxed));
    } catch (...) {
      cudaStreamDestroy(stream_);
      throw;
    }
  }
  ~Recorder() {
    if (recording_) cudaStreamEndCapture(stream_, &graph_);
    if (graph_) cudaGraphDestroy(graph_);
    cudaStreamDestroy(stream_);
  }
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;
  cudaStream_t stream() const { return stream_; }
  cudaGraph_t finish() {
    recording_ = false;
    check_cuda(cudaStreamEndCapture(stream_, &graph_));
    return graph_;
  }

 private:
  cudaStream_t stream_ = nullptr;
  cudaGraph_t graph_ = nullptr;
  bool recording_ = true;
};
}  // namespace

Graph::~Graph() {
  if (runs_) cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(runs_));
  if (ended_) cudaEventDestroy(static_cast<cudaEvent_t>(ended_));
}

void Graph::record(const std::function<void(cudaStream_t)>& work) {
  Recorder recorder;
  work(recorder.stream());
  cudaGraph_t graph = recorder.finish();
  auto runs = static_cast<cudaGraphExec_t>(runs_);
  if (runs) {  // other arguments for the same kernels: cheaper than a new one
    cudaGraphExecUpdateResultInfo info{};
    if (succeeded(cudaGraphExecUpdate(runs, graph, &info))) return;
    runs_ = nullptr;
    cudaGraphExecDestroy(runs);
  }
  check_cuda(cudaGraphInstantiate(&runs, graph, 0));
  runs_ = runs;
}

void Graph::start(cudaStream_t stream) const {
  check_cuda(cudaGraphLaunch(static_cast<cudaGraphExec_t>(runs_), stream));
}

void Graph::begin(cudaStream_t stream) const {
  if (ended_) check_cuda(cudaStreamWaitEvent(stream, static_cast<cudaEvent_t>(ended_), 0));
}

void Graph::end(cudaStream_t stream) {
  if (!ended_) {
    cudaEvent_t event = nullptr;
    check_cuda(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    ended_ = event;
  }
  check_cuda(cudaEventRecord(static_cast<cudaEvent_t>(ended_), stream));
}

}  // namespace nnfast
