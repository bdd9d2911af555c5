"""The CPU runtime without Python above it: allocator, thread pool, launch and plan, as C++ programs built here.

Each runs plain and under the sanitizers that the compiler can link and the machine can run.
"""

import functools
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CXX = next(filter(None, map(shutil.which, [os.environ.get("CXX") or "c++", "c++", "g++"])), None)
FLAGS = {
    "plain": ["-O2"],
    "thread": ["-O1", "-g", "-fsanitize=thread"],
    "address": ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
}
BASE = ["-std=c++20", "-Wall", "-Wextra", "-Werror", "-pthread"]

pytestmark = pytest.mark.skipif(CXX is None, reason="no C++ compiler: set CXX")


def environment(**changes):
    """The environment without what the runtime reads, and with `changes`."""
    env = {k: v for k, v in os.environ.items() if k not in ("NNFAST_CACHE", "NNFAST_NUM_THREADS", "OMP_NUM_THREADS")}
    env["ASAN_OPTIONS"] = "allocator_may_return_null=1"  # as malloc does
    env["TSAN_OPTIONS"] = "allocator_may_return_null=1:die_after_fork=0:halt_on_error=1"
    return env | changes


def run(command, **changes):
    return subprocess.run(command, check=False, env=environment(**changes), capture_output=True, text=True, timeout=120)


def compile_(flags, source, out, *arguments):
    """Compiles one source to an object, through ccache where there is one."""
    ccache = shutil.which("ccache")
    done = run([*([ccache] if ccache else []), CXX, *BASE, *flags, "-c", str(source), "-o", str(out), *arguments])
    assert done.returncode == 0, done.stderr
    return out


def link(flags, objects, out):
    done = run([CXX, *BASE, *flags, *map(str, objects), "-o", str(out)])
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module", params=FLAGS)
def build(request, tmp_path_factory):
    """build(name) makes tests/cpp/<name>.cpp with the runtime, in the variant of this round, and returns its path."""
    folder, flags = tmp_path_factory.mktemp(request.param), FLAGS[request.param]
    trial = folder / "trial.cpp"
    trial.write_text("int main() { return 0; }\n")
    linked = run([CXX, *BASE, *flags, str(trial), "-o", str(folder / "trial")])
    if request.param != "plain" and (linked.returncode != 0 or run([folder / "trial"]).returncode != 0):
        pytest.skip(f"{CXX} cannot build and run with {flags[-1]}: {linked.stderr[:200]}")
    runtime = [compile_(flags, ROOT / f"csrc/cpu/{name}.cpp", folder / f"{name}.o") for name in ("memory", "parallel")]

    @functools.cache
    def program(name):
        own = compile_(flags, ROOT / f"tests/cpp/{name}.cpp", folder / f"{name}.o")
        return link(flags, [own, *runtime], folder / name)

    return program


def check(done):
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("cache", ["1", "0"])
def test_memory(build, cache):
    check(run([build("test_memory")], NNFAST_CACHE=cache))


@pytest.mark.parametrize("build", ["address"], indirect=True)
def test_memory_overrun_is_seen(build):
    """An AddressSanitizer build gives each array its own exact block, and so sees one byte too many."""
    done = run([build("test_memory"), "overrun"])
    assert done.returncode != 0
    assert "heap-buffer-overflow" in done.stderr


def test_parallel(build):
    check(run([build("test_parallel")]))


def test_launch(build):
    check(run([build("test_launch")]))


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runtime")
    sources = [ROOT / "tests/cpp/test_parallel.cpp", ROOT / "csrc/cpu/parallel.cpp"]
    objects = [compile_(FLAGS["plain"], source, folder / f"{source.stem}.o") for source in sources]
    return link(FLAGS["plain"], objects, folder / "test_parallel")


def test_exit_while_a_thread_is_inside(plain):
    for _ in range(5):
        check(run([plain, "leave_busy"]))


@pytest.mark.parametrize(
    "settings, count",
    [
        ({"NNFAST_NUM_THREADS": "3"}, 3),
        ({"NNFAST_NUM_THREADS": "3", "OMP_NUM_THREADS": "5"}, 3),
        ({"OMP_NUM_THREADS": "5"}, 5),
        ({"OMP_NUM_THREADS": "6,2"}, 6),
        ({"NNFAST_NUM_THREADS": " 7 "}, 7),
        ({"NNFAST_NUM_THREADS": "100000"}, 1024),
        *(
            ({"NNFAST_NUM_THREADS": bad, "OMP_NUM_THREADS": "5"}, 5)
            for bad in ("", "0", "-2", "two", "2x", "1.5", "9" * 30)
        ),
    ],
)
def test_default_threads(plain, settings, count):
    assert int(run([plain, "count"], **settings).stdout) == count


def test_default_threads_are_the_cores_allowed(plain):
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    count = int(run([plain, "count"], OMP_NUM_THREADS="none").stdout)
    assert 1 <= count <= allowed
    if hasattr(os, "sched_setaffinity") and shutil.which("taskset"):
        core = min(os.sched_getaffinity(0))
        assert int(run(["taskset", "-c", str(core), plain, "count"]).stdout) == 1


MANY = 2**31 - 1  # cores: no quota
V1 = "9:memory:/docker/a\n4:cpu,cpuacct:/docker/a\n1:name=systemd:/\n"


@pytest.mark.parametrize(
    "cgroup, files, cores, memory",
    [
        ("", {}, MANY, None),
        ("0::/\n", {"cpu.max": "max 100000", "memory.max": "max"}, MANY, None),
        ("0::/\n", {"cpu.max": "200000 100000", "memory.max": "1000000"}, 2, 1000000),
        ("0::/a/b\n", {"a/cpu.max": "150000 100000", "a/b/cpu.max": "max 100000"}, 2, None),
        ("0::/a/b\n", {"a/memory.max": "5000", "a/b/memory.max": "9000", "memory.max": "max"}, MANY, 5000),
        ("0::/a\n", {"a/cpu.max": "20000 100000"}, 1, None),
        ("0::/not/mounted\n", {"cpu.max": "300000 100000"}, 3, None),
        ("0::/a\n", {"a/cpu.max": "garbage", "a/memory.max": ""}, MANY, None),
        ("no colons\n:\n", {"cpu.max": "100000 100000"}, MANY, None),
        (V1, {"cpu/cpu.cfs_quota_us": "400000", "cpu/cpu.cfs_period_us": "100000"}, 4, None),
        (V1, {"cpu/docker/a/cpu.cfs_quota_us": "-1", "cpu/docker/a/cpu.cfs_period_us": "100000"}, MANY, None),
        (V1, {"memory/docker/a/memory.limit_in_bytes": "70000"}, MANY, 70000),
        (V1, {"memory/memory.limit_in_bytes": "9223372036854771712"}, MANY, None),
    ],
)
def test_cgroup_limits(plain, tmp_path, cgroup, files, cores, memory):
    own = tmp_path / "proc/self/cgroup"
    own.parent.mkdir(parents=True)
    own.write_text(cgroup)
    for name, text in files.items():
        file = tmp_path / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert run([plain, "limits", tmp_path]).stdout.split() == [str(cores), str(memory or whole)]


def test_kernels_may_not_own_memory():
    done = run([CXX, *BASE, "-fsyntax-only", "-DREJECTED", str(ROOT / "tests/cpp/test_launch.cpp")])
    assert done.returncode != 0
    assert "a kernel may hold only views and numbers" in done.stderr


@pytest.fixture(scope="module")
def nogil_folder(tmp_path_factory):
    include = sysconfig.get_path("include")
    if not Path(include, "Python.h").exists():
        pytest.skip(f"no Python.h in {include}")
    folder = tmp_path_factory.mktemp("nogil")
    flags = ["-O1", "-fPIC", "-fvisibility=hidden"]
    own = compile_(flags, ROOT / "tests/cpp/nogil_module.cpp", folder / "nogil_module.o", f"-I{include}")
    undefined = ["-undefined", "dynamic_lookup"] if sys.platform == "darwin" else []
    link([*flags, "-shared", *undefined], [own], folder / f"nogil_module{sysconfig.get_config_var('EXT_SUFFIX')}")
    return folder


def python(folder, code):
    return run([sys.executable, "-X", "dev", "-c", code], PYTHONPATH=str(folder))


DAEMONS = """
import threading, time
from nogil_module import compute
def forever():
    while True:
        compute(1)
for _ in range(4):
    threading.Thread(target=forever, daemon=True).start()
time.sleep(0.05)
"""


def test_exit_with_daemon_threads_inside(nogil_folder):
    """The interpreter ends such a thread by unwinding it where it asks for the GIL: an abort, without NoGil's rules."""
    for _ in range(3):
        done = python(nogil_folder, DAEMONS)
        assert (done.returncode, done.stderr) == (0, "")


def test_exit_waits_for_a_kernel(nogil_folder):
    """A kernel that still computes at exit may use memory that the interpreter is about to give up."""
    code = """
import threading, time
from nogil_module import compute
threading.Thread(target=compute, args=(300,), daemon=True).start()
time.sleep(0.05)
start = time.perf_counter()
import atexit, sys
atexit._run_exitfuncs()
assert time.perf_counter() - start > 0.15, "did not wait"
assert compute(0) is True  # the thread that closes may still call
"""
    done = python(nogil_folder, code)
    assert (done.returncode, done.stderr) == (0, "")


def test_exit_of_a_child_forked_while_others_compute(nogil_folder):
    """The threads that were inside at the fork are not there to come out: the child must not wait for them."""
    code = (
        DAEMONS
        + """
import os, signal, sys, warnings
warnings.simplefilter("ignore")
child = os.fork()
if child == 0:
    signal.alarm(20)
    assert compute(1) is False
    sys.exit(7)
status = os.waitpid(child, 0)[1]
assert os.waitstatus_to_exitcode(status) == 7, status
"""
    )
    done = python(nogil_folder, code)
    assert (done.returncode, done.stderr) == (0, "")
