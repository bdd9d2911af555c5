// What lesson mode and tests need of the scheduler.
#pragma once
#include <string>
#include <vector>

#include "cuda.h"

namespace emulator {
// Called at what happens in a launch, if given.
struct Hooks {
  void (*on_launch)(const void* kernel) = nullptr;
  void (*on_block)() = nullptr;
  void (*on_block_end)() = nullptr;
  void (*on_barrier)(Where, int left) = nullptr;  // all have come but those who have left the kernel
  void (*on_handover)() = nullptr;                // some threads of a block have met, or know of others' work
  void (*on_access)(const void*, size_t bytes, Access, Where) = nullptr;  // of atomics, cp.async and ldmatrix
  void (*on_allocate)(void*, size_t bytes) = nullptr;
  void (*on_release)(void*) = nullptr;
  void (*on_error)(const char* text) = nullptr;  // run_grid is about to throw
  void (*on_end)() = nullptr;
};
extern Hooks hooks;

// Streams are for tests (stand_in/): takes a launch on a stream, to `run_now` it later, or returns false. Else a launch
// runs at once, on whatever stream.
extern bool (*later)(cudaStream_t, const Grid&);
void run_now(const Grid&);

// Ends the launch here and now: run_grid throws DeviceError(text). Nothing unwinds through a kernel.
[[noreturn]] void abandon(const std::string& text);

// What waits for something else than a barrier of the block or its warp: the thread that runs sleeps until another one
// resumes it.
void suspend(const char* waits_for, Where);
void resume(Thread*);
void go_ahead(const std::vector<Thread*>&);  // these, which were suspended, run before the one that runs goes on

void forget_copies();      // cp.async that a block before left open
void forget_warpgroups();  // mbarriers and wgmma, likewise

char* dynamic_base();
bool on_fibre_stack(const void*);    // of the thread that runs
bool is_emulator_data(const void*);  // threadIdx and its like
}  // namespace emulator
