// A replay on the GPU: a CUDA graph of the recorded kernels, started once for each step. Nothing waits for a step;
// every now and then the status is read, which says how far the steps have come.
#include <algorithm>
#include <chrono>
#include <limits>

#include "../cuda/gpu.h"
#include "../ops.h"
#include "array_arg_cuda.h"
#include "plan.h"

namespace nnfast {
namespace {
using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point t) { return std::chrono::duration<double>(Clock::now() - t).count(); }

struct Recorded {
  Graph graph;
  bool there = false;
  std::vector<View> bound;  // what lay in the slots when the graph was made: it holds their addresses
  double step_seconds = 0;  // how long a step took lately; 0: unknown

  bool fits(const std::vector<const View*>& slots) const {
    return there && std::equal(bound.begin(), bound.end(), slots.begin(), slots.end(),
                               [](const View& before, const View* now) { return before == *now; });
  }
};

Recorded& recorded(PyPlan& plan) {
  if (!plan.of_device) plan.of_device = std::make_shared<Recorded>();
  return *static_cast<Recorded*>(plan.of_device.get());
}

void clear(Status* status) {
  if (status) full(0, int64s(status, sizeof(Status) / sizeof(int64_t)));
}

// Kernels are launched on the stream that `stream()` names; the bindings set it for each call.
class On {
 public:
  explicit On(cudaStream_t s) : before_(stream()) { set_stream(s); }
  ~On() { set_stream(before_); }
  On(const On&) = delete;
  On& operator=(const On&) = delete;

 private:
  cudaStream_t before_;
};

void make_graph(PyPlan& plan, Recorded& r) {
  r.there = false;
  r.graph.record([&](cudaStream_t s) {
    const On on(s);
    plan.each([](const char* op, const auto& kernel) {
      if (op != RAISES_VERSIONS) kernel();
    });
    if (plan.status) advance(int64s(&plan.status->now, 1), 1, plan.status);  // counts the steps that end well
  });
  r.bound.clear();
  for (const View* slot : plan.slots) r.bound.push_back(*slot);
  r.there = true;
}

// Waits for the steps, and returns the status.
Status read(const PyPlan& plan) {
  Status s;
  if (plan.status) copy_to_host(&s, plan.status, sizeof s, stream());
  return s;
}

// How many steps to start before the next look at the clock: what should take `seconds`, at most.
int64_t as_many(const Recorded& r, double seconds) {
  if (r.step_seconds <= 0) return 1;
  return static_cast<int64_t>(std::clamp(seconds / r.step_seconds, 1.0, 4096.0));
}
}  // namespace

void PyPlan::prepare(int64_t start) {
  set_stream(current_stream());
  recorded(*this).graph.begin(stream());
  if (cursor && start >= 0) full(static_cast<double>(start), int64s(cursor, 1));
  clear(status);
}

int64_t PyPlan::steps(int64_t n, double seconds, Status& found) {
  Recorded& r = recorded(*this);
  if (!r.fits(slots)) make_graph(*this, r);
  const bool timed = seconds < std::numeric_limits<double>::max();
  const auto began = Clock::now();
  int64_t done = 0;
  while (done < n && !closing()) {
    const double left = timed ? seconds - seconds_since(began) : seconds;
    if (done > 0 && left <= 0) break;
    const int64_t count = std::min(n - done, timed ? as_many(r, left) : n - done);
    const auto then = Clock::now();
    for (int64_t i = 0; i < count; ++i) r.graph.start(stream());
    done += count;
    if (!status) continue;
    found = read(*this);
    if (found.code != OK) {
      done = found.now;
      break;
    }
    r.step_seconds = seconds_since(then) / static_cast<double>(count);
  }
  r.graph.end(stream());
  if (found.code != OK) clear(status);
  each([](const char* op, const auto& raise) {
    if (op == RAISES_VERSIONS) raise();
  });
  return done;
}

// Each kernel alone, with a wait after it, which adds some 10 us.
void PyPlan::time_each(std::vector<std::pair<std::string, double>>& times, Status& found) {
  each([&](const char* op, const auto& kernel) {
    const auto then = Clock::now();
    kernel();
    wait_for(stream());
    times.emplace_back(op, seconds_since(then));
  });
  found = read(*this);
  if (found.code != OK) clear(status);
}

}  // namespace nnfast
