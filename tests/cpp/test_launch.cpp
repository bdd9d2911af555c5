// launch, Plan and Capture. Compiled with -DREJECTED it must not compile: a kernel may not hold what owns memory.
#include <cstdint>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "../../csrc/cpu/launch.h"
#include "../../csrc/cpu/parallel.h"
#include "check.h"

using namespace nnfast;

namespace {

#ifdef REJECTED
void rejected() {
  const std::string owner = "on the heap";
  launch([=] { (void)owner.size(); }, "test");
}
#endif

void eager() {
  int value = 0;
  launch([&value] { ++value; }, "test");
  CHECK(value == 1 && capturing == nullptr);
}

// Kernels of different sizes run in their order, with the arguments that they had.
void records_and_replays() {
  Plan plan;
  std::string order;
  double scale[12];
  for (int i = 0; i < 12; ++i) scale[i] = i;
  float factor = 2;
  struct Wide {
    double value[12];
  } wide;
  std::copy(scale, scale + 12, wide.value);
  double total = 0;
  {
    const Capture capture(plan);
    CHECK(capturing == &plan);
    std::string* out = &order;
    double* sum = &total;
    launch([=] { out->push_back('a'); }, "test");
    launch([=] { *sum += wide.value[11] * factor; }, "test");
    launch([=] { out->push_back('b'); }, "test");
    launch([] {}, "test");
    factor = 100;  // the plan has its own copy
    wide.value[11] = 1e9;
    CHECK(order == "ab" && total == 22);  // captured kernels also run
  }
  CHECK(capturing == nullptr && plan.launches() == 4 && plan.bytes() % 16 == 0);
  const std::string* read = &order;
  launch([=] { (void)read; }, "test");
  CHECK(plan.launches() == 4);  // closed: nothing is recorded any more
  for (int i = 0; i < 5; ++i) plan.replay();
  CHECK(order == "abababababab" && total == 22 * 6);
  std::thread([&] { plan.replay(); }).join();  // any thread may replay
  CHECK(total == 22 * 7);
  Plan empty;
  empty.replay();
}

void aligned_closures() {
  struct alignas(16) Sixteen {
    char bytes[16];
  };
  Plan plan;
  bool aligned = true;
  {
    const Capture capture(plan);
    for (char i = 0; i < 20; ++i) {
      const Sixteen value{{i}};
      bool* ok = &aligned;
      launch([=] { *ok = *ok && reinterpret_cast<uintptr_t>(&value) % 16 == 0 && value.bytes[0] == i; }, "test");
      launch([=] { *ok = *ok && i >= 0; }, "test");
    }
  }
  plan.replay();
  CHECK(aligned && plan.launches() == 40);
}

// A step x -> (x + 1) * 2 whose intermediate dies: the plan's pool reuses it, and nobody else gets its memory.
void owns_its_memory() {
  empty_cache();
  constexpr size_t BYTES = 1000 * sizeof(float);
  float* x = static_cast<float*>(allocate(BYTES));
  float* y = static_cast<float*>(allocate(BYTES));
  for (int i = 0; i < 1000; ++i) x[i] = static_cast<float>(i);
  {
    Plan plan;
    {
      const Capture capture(plan);
      float* t = static_cast<float*>(allocate(BYTES));
      launch(
          [=] {
            for (int i = 0; i < 1000; ++i) t[i] = x[i] + 1;
          },
          "test");
      launch(
          [=] {
            parallel_for(1000, 100, [=](int64_t b, int64_t e) {
              for (; b < e; ++b) y[b] = t[b] * 2;
            });
          },
          "test");
      release(t);
    }
    CHECK(memory_stats(plan.pool()).live == 0 && memory_stats(plan.pool()).resting >= BYTES);
    float* user = static_cast<float*>(allocate(BYTES));
    for (int i = 0; i < 1000; ++i) user[i] = -1;
    x[5] = 41;
    plan.replay();
    CHECK(y[5] == 84 && y[999] == 2000);
    for (int i = 0; i < 1000; ++i) CHECK(user[i] == -1);
    release(user);
  }
  release(x);
  release(y);
  CHECK(memory_stats().live == 0);
}

// The version lies beside the data, so a replay raises it.
void replay_raises_versions() {
  Plan plan;
  void* weights = allocate_for_life(100);
  {
    const Capture capture(plan);
    launch([=] { ++version_of(weights); }, "test");
  }
  for (int i = 0; i < 19; ++i) plan.replay();
  CHECK(version_of(weights) == 20);
  release(weights);
}

void misuse() {
  Plan plan, other;
  {
    const Capture capture(plan);
    CHECK_THROWS(std::logic_error, Capture(other));
    CHECK_THROWS(std::logic_error, other.replay());
    CHECK(capturing == &plan && thread_pool() == plan.pool());
    std::thread([&] {  // capture is a matter of one thread
      CHECK(capturing == nullptr && thread_pool() == nullptr);
      launch([] {}, "test");
      other.replay();
    })
        .join();
    CHECK(plan.launches() == 0);
  }
  const auto failing_step = [&] {
    const Capture capture(plan);
    release(allocate(100));
    throw std::runtime_error("in the step");
  };
  CHECK_THROWS(std::runtime_error, failing_step());
  CHECK(capturing == nullptr && thread_pool() == nullptr && memory_stats(plan.pool()).live == 0);
}

}  // namespace

int main() {
  eager();
  records_and_replays();
  aligned_closures();
  owns_its_memory();
  replay_raises_versions();
  misuse();
}
