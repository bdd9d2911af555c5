#include "streams.h"

#include <deque>
#include <memory>
#include <mutex>
#include <unordered_map>

namespace nnfast::stand_in {
namespace {
struct Stream {
  std::deque<std::function<void()>> line;
  int64_t done = 0;
};
std::mutex mutex;  // of the lines; nothing runs while it is held
std::unordered_map<cudaStream_t, std::unique_ptr<Stream>>& streams() {
  static auto* all = new std::unordered_map<cudaStream_t, std::unique_ptr<Stream>>;
  return *all;
}
Stream* find(cudaStream_t stream) {
  const auto found = streams().find(stream);
  return found == streams().end() ? nullptr : found->second.get();
}

// Runs the next in line. False: there is none.
bool step(cudaStream_t stream) {
  std::function<void()> work;
  {
    const std::lock_guard lock(mutex);
    Stream* const s = find(stream);
    if (!s || s->line.empty()) return false;
    work = std::move(s->line.front());
    s->line.pop_front();
  }
  work();
  const std::lock_guard lock(mutex);
  if (Stream* const s = find(stream)) ++s->done;
  return true;
}
}  // namespace

bool put_off(cudaStream_t stream, std::function<void()> work) {
  const std::lock_guard lock(mutex);
  Stream* const s = find(stream);
  if (s) s->line.push_back(std::move(work));
  return s != nullptr;
}

void run(cudaStream_t stream) {
  while (step(stream)) {
  }
}

Event now(cudaStream_t stream) {
  const std::lock_guard lock(mutex);
  const Stream* const s = find(stream);
  return {stream, s ? s->done + static_cast<int64_t>(s->line.size()) : 0};
}

void wait(const Event& event) {
  for (;;) {
    {
      const std::lock_guard lock(mutex);
      const Stream* const s = find(event.stream);
      if (!s || s->done >= event.place) return;
    }
    if (!step(event.stream)) return;
  }
}

}  // namespace nnfast::stand_in

// What tests/fake_gpu.py calls, by ctypes. A stream is its address.
#define FOR_TESTS extern "C" __attribute__((visibility("default")))
using nnfast::stand_in::Event;

FOR_TESTS void* stand_in_stream() {
  const std::lock_guard lock(nnfast::stand_in::mutex);
  auto made = std::make_unique<nnfast::stand_in::Stream>();
  const auto name = reinterpret_cast<cudaStream_t>(made.get());
  nnfast::stand_in::streams()[name] = std::move(made);
  return name;
}
FOR_TESTS void stand_in_close(void* stream) {
  nnfast::stand_in::run(static_cast<cudaStream_t>(stream));
  const std::lock_guard lock(nnfast::stand_in::mutex);
  nnfast::stand_in::streams().erase(static_cast<cudaStream_t>(stream));
}
FOR_TESTS void stand_in_run(void* stream) { nnfast::stand_in::run(static_cast<cudaStream_t>(stream)); }
FOR_TESTS int64_t stand_in_waiting(void* stream) {
  const std::lock_guard lock(nnfast::stand_in::mutex);
  return static_cast<int64_t>(nnfast::stand_in::find(static_cast<cudaStream_t>(stream))->line.size());
}
FOR_TESTS void stand_in_call(void* stream, void (*f)(int64_t), int64_t number) {
  nnfast::stand_in::put_off(static_cast<cudaStream_t>(stream), [=] { f(number); });
}
FOR_TESTS int64_t stand_in_now(void* stream) { return nnfast::stand_in::now(static_cast<cudaStream_t>(stream)).place; }
FOR_TESTS void stand_in_wait(void* stream, void* other, int64_t place) {
  const Event event{static_cast<cudaStream_t>(other), place};
  if (!nnfast::stand_in::put_off(static_cast<cudaStream_t>(stream), [=] { nnfast::stand_in::wait(event); }))
    nnfast::stand_in::wait(event);
}
