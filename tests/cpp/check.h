// CHECK(condition) and CHECK_THROWS(Type, expression) for the C++ test programs: the first failure prints its place and
// ends the process, from any thread and in a forked child too.
#pragma once
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>

#define CHECK(condition)                                                                 \
  do {                                                                                   \
    if (!(condition)) {                                                                  \
      std::fprintf(stderr, "%s:%d: CHECK(%s) failed\n", __FILE__, __LINE__, #condition); \
      _exit(1);                                                                          \
    }                                                                                    \
  } while (0)

#define CHECK_THROWS(Type, expression) \
  do {                                 \
    bool thrown = false;               \
    try {                              \
      (void)(expression);              \
    } catch (const Type&) {            \
      thrown = true;                   \
    }                                  \
    CHECK(thrown && #expression);      \
  } while (0)

// Runs f in a forked child. True if it came back within 20 seconds and without a failure.
template <class F>
bool in_child(const F& f) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);
    f();
    _exit(0);
  }
  int status = -1;
  return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

inline size_t address_space() {
  size_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  return pages * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

// From now on this process gets no more than `bytes` of address space beyond what it has.
inline void limit_address_space(size_t bytes) {
  const rlim_t limit = address_space() + bytes;
  const rlimit bound{limit, limit};
  CHECK(setrlimit(RLIMIT_AS, &bound) == 0);
}
