// What this process may use of the machine: cores (affinity and cgroup quota) and bytes of memory (cgroup limit).
// In a container the machine's own figures are those of the host, and far too large. `root` is for tests.
#pragma once
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <limits>
#include <string>
#include <thread>

#ifdef __linux__
#include <sched.h>
#endif

namespace nnfast {

// Calls look(directory, v2) for this process's cgroup and each one above it: a limit anywhere on the way counts.
// In a container /proc may name the host's path, which is not mounted; the way up then ends at the container's root.
template <class Look>
void visit_cgroups(const std::string& root, const std::string& controller, const Look& look) {
  std::ifstream list(root + "/proc/self/cgroup");
  for (std::string line; std::getline(list, line);) {  // number:controller,controller:/path; v2 has no controllers
    const size_t a = line.find(':'), b = line.find(':', a + 1);
    if (a == std::string::npos || b == std::string::npos) continue;
    const std::string controllers = "," + line.substr(a + 1, b - a - 1) + ",";
    const bool v2 = controllers == ",,";
    if (!v2 && controllers.find("," + controller + ",") == std::string::npos) continue;
    const std::string top = root + "/sys/fs/cgroup" + (v2 ? "" : "/" + controller);
    for (std::string path = line.substr(b + 1); !path.empty() && path != "/"; path.resize(path.rfind('/'))) {
      if (path[0] != '/') break;
      look(top + path, v2);
    }
    look(top, v2);
  }
}

// The cores that the cgroup quotas allow, rounded up: a quota of 1.5 cores keeps two threads busy most of the time.
inline int quota_cores(const std::string& root) {
  double least = std::numeric_limits<int>::max();
  visit_cgroups(root, "cpu", [&](const std::string& directory, bool v2) {
    double quota = 0, period = 0;  // microseconds; "max" and -1 mean no limit, and fail the test below
    if (v2) {
      std::ifstream(directory + "/cpu.max") >> quota >> period;
    } else {
      std::ifstream(directory + "/cpu.cfs_quota_us") >> quota;
      std::ifstream(directory + "/cpu.cfs_period_us") >> period;
    }
    if (quota > 0 && period > 0) least = std::min(least, quota / period);
  });
  const int whole = static_cast<int>(least);
  return std::max(1, whole + (least > whole));
}

inline int allowed_cores(const std::string& root = "") {
  int cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
#ifdef __linux__
  for (int most = 1024; most <= 1 << 20; most *= 2) {  // the call fails while the set is smaller than the kernel's
    cpu_set_t* set = CPU_ALLOC(static_cast<size_t>(most));
    if (!set) break;
    const size_t size = CPU_ALLOC_SIZE(static_cast<size_t>(most));
    const bool known = sched_getaffinity(0, size, set) == 0;
    if (known) cores = std::max(1, CPU_COUNT_S(size, set));
    CPU_FREE(set);
    if (known) break;
  }
#endif
  return std::min(cores, quota_cores(root));
}

inline size_t allowed_memory(const std::string& root = "") {
  const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  size_t least = std::numeric_limits<size_t>::max();
  if (pages > 0 && page > 0) least = static_cast<size_t>(pages) * static_cast<size_t>(page);
  visit_cgroups(root, "memory", [&](const std::string& directory, bool v2) {
    uint64_t limit = 0;  // "max" leaves 0
    std::ifstream(directory + (v2 ? "/memory.max" : "/memory.limit_in_bytes")) >> limit;
    if (limit > 0) least = static_cast<size_t>(std::min<uint64_t>(least, limit));
  });
  return least;
}

}  // namespace nnfast
