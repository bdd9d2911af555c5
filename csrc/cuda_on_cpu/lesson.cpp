// Lesson mode. Kernel files are compiled with -fsanitize=thread,bounds, so that the compiler announces each load and
// store by a call of __tsan_readN or __tsan_writeN. These functions are ours: they check the access, and count what the
// memory system of a GPU would do. What they find is reported in numbers; lessons.py finds the lines and the words.
//
// Races: two accesses of a byte by two threads, one of them a store, not both atomic, with no barrier between them that
// both threads passed. Remembered of each byte: its last store, atomic and load, the last load before by another
// thread, and that by another warp. Counts: the n-th execution of an instruction since the last barrier by each lane of
// a warp is one request. Where lanes run different numbers of rounds of a loop that is a guess.
#include "lesson.h"

#include <signal.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <map>
#include <memory>
#include <new>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "emulator.h"

extern "C" __attribute__((visibility("hidden"))) const char __ehdr_start[], _end[];  // the library in memory

namespace nnfast {
cudaStream_t stream() { return nullptr; }
}  // namespace nnfast

namespace emulator {
namespace {

struct Event {  // who touched a byte, and when
  uint32_t interval = 0;
  uint16_t thread = 0, epoch = 0;
  uint32_t site = 0;
};
struct Cell {
  Event store, atomic, load, load_other_thread, load_other_warp;
  bool on_its_way = false;  // by cp.async
};
static_assert(sizeof(Cell) == 64, "REMEMBERED of lessons.py");
constexpr size_t MOST_REMEMBERED = (size_t{4} << 30) / sizeof(Cell);  // bytes of an array
struct Array {
  std::string name;
  uintptr_t begin, end;
  NnfastLessonArray kind;
  std::vector<Cell> cells;  // one a byte; inputs have none

  bool shared() const { return kind == nnfast_shared; }
};
struct Site {  // an instruction that touches an array
  uintptr_t pc;
  Where where;  // instead of pc, where the emulator tells
  Access access;
  size_t bytes;
  const Array* array;
  uint64_t requests = 0, lanes = 0, moved = 0, ideal = 0;  // moved: sectors of global memory, wavefronts of shared
};
struct Request {
  uint32_t mask = 0;
  uintptr_t at[32];
};
struct Track {  // of one instruction in one warp: the requests that not all lanes have come to
  uint32_t count[32] = {}, first = 0;
  size_t head = 0;
  std::vector<Request> open;
};
struct Fault {
  std::string kind, text;
  uint32_t site = NONE, other = NONE;
  const Array* array = nullptr;
  int64_t byte = 0;
  int thread = -1, other_thread = -1;
  uint3 block{}, other_block{};
  uintptr_t pc = 0;
  int signal = 0;
  uint64_t count = 1;

  static constexpr uint32_t NONE = ~0u;
};
struct LaunchRecord {
  uintptr_t kernel;
  Launch shape;
};
struct SiteKey {
  uintptr_t place;
  const Array* array;
  auto operator<=>(const SiteKey&) const = default;
};
struct Hash {
  size_t operator()(const SiteKey& k) const { return k.place * 31 ^ reinterpret_cast<uintptr_t>(k.array) >> 6; }
};
using Past = std::vector<std::pair<uint32_t, uint32_t>>;  // intervals of whole blocks, rising

struct Lesson {
  std::string path;
  std::vector<std::unique_ptr<Array>> arrays;
  Array dynamic{"dynamic shared memory", 0, 0, nnfast_shared, {}};
  std::vector<Site> sites;
  std::unordered_map<SiteKey, uint32_t, Hash> site_of;
  std::vector<std::vector<Track>> tracks;  // [warp][site]
  std::vector<Fault> faults;
  std::map<std::string, size_t> seen;  // faults by kind and place
  std::vector<LaunchRecord> launches;
  std::vector<std::pair<uint32_t, uint3>> blocks;  // of this launch, with their first intervals
  uint32_t interval = 1, block_begin = 1, launch_begin = 1;
  uint64_t barriers = 0;  // that a block has passed
  bool running = false, fenced = false;
  std::map<uintptr_t, Past> released;  // by fence and atomic: what was done before, by the address of the atomic
  std::set<uintptr_t> acquired;        // addresses whose atomics this block has met
  uintptr_t last_pc = 0;
};
Lesson* lesson = nullptr;

// ---- faults ----

std::string place_of(const Site& s) {
  return s.where.file ? s.where.file + std::to_string(s.where.line) : std::to_string(s.pc);
}

// True if it is the first of its kind at its place.
bool note(Fault fault) {
  std::string key = fault.kind + (fault.array ? fault.array->name : "");
  if (fault.site != Fault::NONE) key += "@" + place_of(lesson->sites[fault.site]);
  const auto [at, fresh] = lesson->seen.try_emplace(key, lesson->faults.size());
  if (!fresh) {
    ++lesson->faults[at->second].count;
    return false;
  }
  if (self) {
    fault.thread = self->id;
    fault.block = self->block;
  }
  lesson->faults.push_back(std::move(fault));
  return true;
}

[[noreturn]] void stop(Fault fault) {
  note(std::move(fault));
  abandon("");
}

bool of_this_block(const Event& e) { return e.interval >= lesson->block_begin; }

uint3 block_of(const Event& e) {
  const auto after = std::upper_bound(lesson->blocks.begin(), lesson->blocks.end(), e.interval,
                                      [](uint32_t interval, const auto& b) { return interval < b.first; });
  return after == lesson->blocks.begin() ? uint3{} : std::prev(after)->second;
}

// Another block wrote, then fenced, then reached an atomic that this block has reached after it: the last block of a
// sum reads what the others left.
bool handed_over(const Event& e) {
  for (const uintptr_t address : lesson->acquired) {
    const Past& past = lesson->released[address];
    const auto after = std::upper_bound(past.begin(), past.end(), e.interval,
                                        [](uint32_t interval, const auto& p) { return interval < p.first; });
    if (after != past.begin() && e.interval <= std::prev(after)->second) return true;
  }
  return false;
}

// Whether `e` surely came before what this thread does now.
bool ordered(const Event& e, bool shared) {
  if (e.interval < (shared ? lesson->block_begin : lesson->launch_begin)) return true;
  if (!of_this_block(e)) return handed_over(e);
  if (e.thread == self->id || e.interval != lesson->interval) return true;
  return e.thread / 32 == self->warp && e.epoch < static_cast<uint16_t>(self->warp_epoch);
}

// ---- checks of an access ----

Fault at_byte(const char* kind, uint32_t site, const Array& array, size_t byte) {
  Fault f;
  f.kind = kind;
  f.site = site;
  f.array = &array;
  f.byte = static_cast<int64_t>(byte);
  return f;
}

// One access, byte by byte; `told` keeps it from being counted once for each.
struct Check {
  const Event& now;
  const Array& array;
  bool told = false;

  void race(const char* kind, const Event& before, size_t byte) {
    if (ordered(before, array.shared()) || told) return;
    Fault f = at_byte(kind, now.site, array, byte);
    f.other = before.site;
    f.other_thread = before.thread;
    f.other_block = block_of(before);
    note(std::move(f));
    told = true;
  }
  void initialised(const Cell& c, size_t byte) {
    const uint32_t since = array.shared() ? lesson->block_begin : 1;
    if (array.kind == nnfast_filled || c.store.interval >= since || c.atomic.interval >= since || told) return;
    note(at_byte("uninitialised", now.site, array, byte));
    told = true;
  }
  void store(Cell& c, size_t byte, bool atomic) {
    if (atomic) initialised(c, byte);
    race("store after store", c.store, byte);
    if (!atomic) race("store after store", c.atomic, byte);
    for (const Event* load : {&c.load, &c.load_other_thread, &c.load_other_warp}) race("store after load", *load, byte);
    (atomic ? c.atomic : c.store) = now;
  }
  void load(Cell& c, size_t byte) {
    if (c.on_its_way && !told) {
      Fault f = at_byte("load before the copy is waited for", now.site, array, byte);
      f.other = c.store.site;
      f.other_thread = c.store.thread;
      f.other_block = self->block;
      note(std::move(f));
      told = true;
    }
    initialised(c, byte);
    race("load after store", c.store, byte);
    race("load after store", c.atomic, byte);
    if (c.load.interval == now.interval && c.load.thread != now.thread) {
      c.load_other_thread = c.load;
      if (c.load.thread / 32 != now.thread / 32) c.load_other_warp = c.load;
    }
    c.load = now;
  }
};

// ---- counts ----

void close(Site& s, const Request& q) {
  ++s.requests;
  s.lanes += static_cast<uint64_t>(std::popcount(q.mask));
  if (s.array->shared()) {  // each group of lanes that moves up to 128 bytes takes as long as its fullest bank
    const int group = s.bytes <= 4 ? 32 : std::max(1, static_cast<int>(128 / s.bytes));
    for (int g = 0; g < 32; g += group) {
      std::vector<uintptr_t> bank[32];
      size_t most = 0;
      for (int l = g; l < g + group; ++l) {
        if (!(q.mask >> l & 1)) continue;
        for (uintptr_t w = q.at[l] / 4; w <= (q.at[l] + s.bytes - 1) / 4; ++w) {
          auto& words = bank[w % 32];  // lanes that want one word share it, but atomics wait for each other
          if (s.access == Access::atomic || std::find(words.begin(), words.end(), w) == words.end()) words.push_back(w);
          most = std::max(most, words.size());
        }
      }
      s.moved += most;
      s.ideal += most > 0;
    }
  } else {
    std::vector<uintptr_t> sectors, starts;
    for (int l = 0; l < 32; ++l) {
      if (!(q.mask >> l & 1)) continue;
      for (uintptr_t sector = q.at[l] / 32; sector <= (q.at[l] + s.bytes - 1) / 32; ++sector) sectors.push_back(sector);
      starts.push_back(q.at[l]);
    }
    const auto distinct = [](std::vector<uintptr_t>& v) {
      std::sort(v.begin(), v.end());
      return static_cast<uint64_t>(std::unique(v.begin(), v.end()) - v.begin());
    };
    s.moved += distinct(sectors);
    s.ideal += (distinct(starts) * s.bytes + 31) / 32;
  }
}

void count(uint32_t id, uintptr_t at) {
  const auto warp = static_cast<size_t>(self->warp);
  auto& tracks = lesson->tracks[warp];
  if (tracks.size() <= id) tracks.resize(id + 1);
  Track& t = tracks[id];
  const size_t i = t.head + t.count[self->lane]++ - t.first;
  if (i >= t.open.size()) t.open.resize(i + 1);
  Request& q = t.open[i];
  q.mask |= 1u << self->lane;
  q.at[self->lane] = at;
  const int lanes =
      std::min(32, static_cast<int>(config->block.x * config->block.y * config->block.z) - self->warp * 32);
  if (i != t.head || q.mask != (lanes == 32 ? ~0u : (1u << lanes) - 1)) return;
  close(lesson->sites[id], q);
  ++t.first;
  if (++t.head == t.open.size()) {
    t.open.clear();
    t.head = 0;
  }
}

void close_all() {
  for (auto& warp : lesson->tracks)
    for (size_t id = 0; id < warp.size(); ++id) {
      Track& t = warp[id];
      for (size_t i = t.head; i < t.open.size(); ++i) close(lesson->sites[id], t.open[i]);
      t.open.clear();
      t.head = t.first = 0;
      std::fill(t.count, t.count + 32, 0);
    }
}

// ---- an access ----

Array* array_at(uintptr_t a) {
  static Array* last = nullptr;
  if (last && a >= last->begin && a < last->end) return last;
  for (const auto& r : lesson->arrays)
    if (a >= r->begin && a < r->end) return last = r.get();
  return a >= lesson->dynamic.begin && a < lesson->dynamic.end ? &lesson->dynamic : nullptr;
}

const Array* nearest(uintptr_t a) {
  const Array* best = nullptr;
  uintptr_t least = 1 << 20;
  const auto look = [&](const Array& r) {
    const uintptr_t distance = a >= r.end ? a - r.end : a < r.begin ? r.begin - a : 0;
    if (distance < least && r.end > r.begin) {
      least = distance;
      best = &r;
    }
  };
  for (const auto& r : lesson->arrays) look(*r);
  look(lesson->dynamic);
  return best;
}

uint32_t site_at(uintptr_t pc, Where where, Access access, size_t bytes, const Array* array) {
  const uintptr_t place = pc ? pc
                             : reinterpret_cast<uintptr_t>(where.file) + static_cast<uintptr_t>(where.line) * 8 +
                                   static_cast<uintptr_t>(access);
  const auto [at, fresh] = lesson->site_of.try_emplace({place, array}, static_cast<uint32_t>(lesson->sites.size()));
  if (fresh) lesson->sites.push_back({pc, where, access, bytes, array});
  return at->second;
}

[[noreturn]] void end_at(Fault fault);

void access(uintptr_t a, size_t bytes, Access kind, uintptr_t pc, Where where) {
  if (!lesson) return;
  const void* p = reinterpret_cast<void*>(a);
  if (!lesson->running || !self) {  // the host's own; variables of the file may be the host's, too
    Array* array = p >= __ehdr_start && p < _end ? nullptr : array_at(a);
    if (array) end_at(at_byte("host", site_at(pc, where, kind, bytes, array), *array, a - array->begin));
    return;
  }
  if (on_fibre_stack(p) || is_emulator_data(p)) return;
  if (pc) lesson->last_pc = pc;
  Array* array = array_at(a);
  if (!array || a + bytes > array->end) {
    if (!array && p >= __ehdr_start && p < _end) return;  // a constant of the library
    const Array* near = array ? array : nearest(a);
    Fault f;
    f.kind = "out of bounds";
    f.site = site_at(pc, where, kind, bytes, near);
    f.array = near;
    f.byte = static_cast<int64_t>(near ? a - near->begin : a);
    stop(std::move(f));
  }
  const uint32_t id = site_at(pc, where, kind, bytes, array);
  const size_t first = a - array->begin;
  if (a % std::min<size_t>(bytes, 16) != 0 && std::has_single_bit(bytes))
    stop(at_byte("misaligned", id, *array, first));
  const bool stores = kind != Access::load;
  if (array->kind == nnfast_input) {
    if (stores) stop(at_byte("store to an input", id, *array, first));
  } else {
    const Event now{lesson->interval, static_cast<uint16_t>(self->id), static_cast<uint16_t>(self->warp_epoch), id};
    Check check{now, *array};
    for (size_t i = first; i < first + bytes; ++i) {
      Cell& c = array->cells[i];
      if (!stores) {
        check.load(c, i);
        continue;
      }
      check.store(c, i, kind == Access::atomic);
      c.on_its_way = kind == Access::copy_begins;
    }
  }
  if (kind != Access::copy_lands) count(id, a);
  if (kind == Access::atomic && !array->shared()) {
    lesson->acquired.insert(a);
    Past& past = lesson->released[a];
    if (lesson->fenced && (past.empty() || past.back().first != lesson->block_begin))
      past.emplace_back(lesson->block_begin, lesson->interval);
  }
}

// ---- the report ----

std::string quoted(const std::string& s) {
  std::string q = "\"";
  for (const char c : s) {
    if (c == '"' || c == '\\') q += '\\';
    if (c == '\n')
      q += "\\n";
    else if (static_cast<unsigned char>(c) >= 0x20)
      q += c;
  }
  return q + '"';
}
std::string offset(uintptr_t pc) {
  const uintptr_t base = reinterpret_cast<uintptr_t>(__ehdr_start);
  return std::to_string(pc > base && pc < reinterpret_cast<uintptr_t>(_end) ? pc - base : 0);
}
std::string json(const dim3& d) {
  return "[" + std::to_string(d.x) + "," + std::to_string(d.y) + "," + std::to_string(d.z) + "]";
}
std::string json(const uint3& d) { return json(dim3{d.x, d.y, d.z}); }
std::string member(const char* name, const std::string& value) { return quoted(name) + ":" + value; }
std::string member(const char* name, int64_t value) { return member(name, std::to_string(value)); }
std::string member(const char* name, uint64_t value) { return member(name, std::to_string(value)); }
std::string member(const char* name, int value) { return member(name, std::to_string(value)); }

template <class... Members>
std::string object(const Members&... members) {
  std::string s;
  ((s += (s.empty() ? "{" : ",") + members), ...);
  return s + "}";
}
std::string json(const Array* a) {
  if (!a) return "null";
  return object(member("name", quoted(a->name)), member("shared", a->shared() ? "true" : "false"),
                member("bytes", uint64_t{a->end - a->begin}));
}
std::string json(const Site& s) {
  constexpr const char* names[] = {"load", "store", "atomic", "store", "store"};
  return object(member("pc", offset(s.pc)), member("file", quoted(s.where.file ? s.where.file : "")),
                member("line", s.where.line), member("access", quoted(names[static_cast<int>(s.access)])),
                member("bytes", uint64_t{s.bytes}), member("array", json(s.array)), member("requests", s.requests),
                member("lanes", s.lanes), member("moved", s.moved), member("ideal", s.ideal));
}
std::string json(const Fault& f) {
  const auto index = [](uint32_t site) { return site == Fault::NONE ? -1 : static_cast<int>(site); };
  return object(member("kind", quoted(f.kind)), member("text", quoted(f.text)), member("site", index(f.site)),
                member("other", index(f.other)), member("array", json(f.array)), member("byte", f.byte),
                member("thread", f.thread), member("other_thread", f.other_thread), member("block", json(f.block)),
                member("other_block", json(f.other_block)), member("pc", offset(f.pc)), member("signal", f.signal),
                member("count", f.count));
}
std::string json(const LaunchRecord& l) {
  return object(member("kernel", offset(l.kernel)), member("grid", json(l.shape.grid)),
                member("block", json(l.shape.block)), member("shared_bytes", uint64_t{l.shape.shared_bytes}));
}
template <class T>
std::string list(const std::vector<T>& all) {
  std::string s = "[";
  for (const T& one : all) s += (s.size() > 1 ? ",\n" : "") + json(one);
  return s + "]";
}

void write_report() {
  std::ofstream(lesson->path) << object(member("faults", list(lesson->faults)), member("sites", list(lesson->sites)),
                                        member("launches", list(lesson->launches)),
                                        member("barriers", lesson->barriers));
}

// What follows a launch that failed is of no interest: the report is written, and the process ends.
[[noreturn]] void give_up() {
  close_all();
  write_report();
  _exit(0);
}

void end_at(Fault fault) {
  note(std::move(fault));
  give_up();
}

void on_error(const char* text) {
  if (*text) {  // the emulator's own: a divergent barrier, a deadlock, a mask
    Fault f;
    f.kind = "emulator";
    f.text = text;
    note(std::move(f));
  }
  give_up();
}

void on_signal(int number, siginfo_t*, void* context) {
  signal(number, SIG_DFL);
  Fault f;
  f.kind = number == SIGALRM ? "time" : "crash";
  f.signal = number;
#if defined(__x86_64__)
  f.pc = static_cast<uintptr_t>(static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP]);
#elif defined(__aarch64__)
  f.pc = static_cast<ucontext_t*>(context)->uc_mcontext.pc;
#endif
  // In a hook or a library, the kernel's last access stands for the place.
  const auto inside = [](uintptr_t pc) { return offset(pc) != "0"; };
  if (!inside(f.pc) || number == SIGALRM)
    f.pc = lesson->last_pc ? lesson->last_pc : f.pc;
  else
    ++f.pc;  // as an address to return to
  note(std::move(f));
  write_report();
  _exit(0);
}

void watch_signals(unsigned seconds) {
  static char memory[1 << 16];  // a stack of its own: the kernel's may be what is too small
  stack_t stack{};
  stack.ss_sp = memory;
  stack.ss_size = sizeof memory;
  sigaltstack(&stack, nullptr);
  struct sigaction action{};
  action.sa_sigaction = on_signal;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  for (const int number : {SIGALRM, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) sigaction(number, &action, nullptr);
  alarm(seconds);
}

// ---- what happens in a launch ----

void on_launch(const void* kernel) {
  lesson->running = true;
  lesson->launches.push_back({reinterpret_cast<uintptr_t>(kernel), *config});
  lesson->launch_begin = ++lesson->interval;
  lesson->blocks.clear();
  lesson->released.clear();
  const size_t threads = size_t{config->block.x} * config->block.y * config->block.z;
  lesson->tracks.assign((threads + 31) / 32, {});
  const uintptr_t begin = reinterpret_cast<uintptr_t>(dynamic_base());
  lesson->dynamic.begin = begin;
  lesson->dynamic.end = begin + config->shared_bytes;
  lesson->dynamic.cells.assign(config->shared_bytes, {});
}

void on_allocate(void* p, size_t bytes) { nnfast_lesson_array("scratch", p, bytes, nnfast_output); }
void on_release(void* p) {  // sites go on to name it
  for (const auto& a : lesson->arrays) {
    if (a->begin != reinterpret_cast<uintptr_t>(p)) continue;
    a->begin = a->end = 0;
    a->cells = {};
  }
}

void next_interval() {
  close_all();
  ++lesson->interval;
}

void on_block() {
  lesson->block_begin = ++lesson->interval;
  uint32_t begin = lesson->interval;
  const auto n = static_cast<unsigned>(lesson->blocks.size());
  const dim3 grid = config->grid;
  lesson->blocks.push_back({begin, {n % grid.x, n / grid.x % grid.y, n / grid.x / grid.y}});
  lesson->fenced = false;
  lesson->acquired.clear();
}

void on_barrier(Where where, int left) {
  next_interval();
  ++lesson->barriers;
  if (!left) return;
  Fault f;
  f.kind = "left before a barrier";
  f.text = where.file;
  f.byte = where.line;
  f.other_thread = left;
  note(std::move(f));
}

void on_access(const void* p, size_t bytes, Access kind, Where where) {
  access(reinterpret_cast<uintptr_t>(p), bytes, kind, 0, where);
}

}  // namespace
}  // namespace emulator

using namespace emulator;

void nnfast_lesson_begin(const char* report, unsigned seconds) {
  lesson = new Lesson;
  lesson->path = report;
  hooks.on_launch = on_launch;
  hooks.on_block = on_block;
  hooks.on_block_end = next_interval;
  hooks.on_barrier = on_barrier;
  hooks.on_handover = [] { ++lesson->interval; };  // as if all had met: no false alarm, and some races are not seen
  hooks.on_access = on_access;
  hooks.on_allocate = on_allocate;
  hooks.on_release = on_release;
  hooks.on_error = on_error;
  hooks.on_end = [] { lesson->running = false; };
  watch_signals(seconds);
}

void nnfast_lesson_array(const char* name, void* begin, size_t bytes, NnfastLessonArray kind) {
  const auto at = reinterpret_cast<uintptr_t>(begin);
  try {
    if (!begin || (kind != nnfast_input && bytes > MOST_REMEMBERED)) throw std::bad_alloc();
    auto cells = std::vector<Cell>(kind == nnfast_input ? 0 : bytes);
    lesson->arrays.push_back(std::make_unique<Array>(Array{name, at, at + bytes, kind, std::move(cells)}));
  } catch (const std::exception&) {  // too little memory, or a length that no vector has
    Fault f;
    f.kind = "memory";
    f.text = name;
    f.byte = static_cast<int64_t>(bytes);
    end_at(std::move(f));
  }
}

void nnfast_lesson_end() { write_report(); }

// ---- what the compiler calls ----

extern "C" {
// -fsanitize=bounds: an index outside of an array whose size the compiler knows. Its own names are reserved.
struct BoundsData {
  const char* file;
  uint32_t line, column;
  struct {
    uint16_t kind, info;
    char name[1];
  }* array;
};
void __ubsan_handle_out_of_bounds(BoundsData* d, uintptr_t index) {
  if (!lesson || !self) return;
  Fault f;
  f.kind = "index";
  f.text =
      std::string(d->file) + ":" + std::to_string(d->line) + ":" + std::to_string(d->column) + ":" + d->array->name;
  f.byte = static_cast<int64_t>(index);
  stop(std::move(f));
}

#define PC reinterpret_cast<uintptr_t>(__builtin_return_address(0))
#define HOOK(name, kind, bytes) \
  void __tsan_##name(void* p) { access(reinterpret_cast<uintptr_t>(p), bytes, Access::kind, PC, {}); }
#define HOOKS(n)                     \
  HOOK(read##n, load, n)             \
  HOOK(write##n, store, n)           \
  HOOK(unaligned_read##n, load, n)   \
  HOOK(unaligned_write##n, store, n) \
  HOOK(volatile_read##n, load, n)    \
  HOOK(volatile_write##n, store, n)
HOOKS(1)
HOOKS(2)
HOOKS(4)
HOOKS(8)
HOOKS(16)
void __tsan_read_range(void* p, size_t n) { access(reinterpret_cast<uintptr_t>(p), n, Access::load, PC, {}); }
void __tsan_write_range(void* p, size_t n) { access(reinterpret_cast<uintptr_t>(p), n, Access::store, PC, {}); }
void __tsan_atomic_thread_fence(int) {
  if (lesson) lesson->fenced = true;
}
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void*, void*) {}
void __tsan_vptr_read(void*) {}
}
