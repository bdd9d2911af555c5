"""`nnfast bench`: what it prints is what it measured, wrong answers stop it, and a regression is named."""

import copy
import functools
import importlib.util
import json
import os
import re
import subprocess
import sys
import time
import types

import fake_gpu
import numpy as np
import pytest
from conftest import EMULATOR, GPU

import nnfast
from nnfast import bench, cli
from nnfast.bench import cuda, fit, machine, overhead, peers, report, robust, timing
from nnfast.bench.peers import Remote
from nnfast.bench.timing import Bench, Row, Timing


@pytest.fixture(autouse=True)
def settings(monkeypatch):
    """The command finds its settings and does not start another process."""
    for key, value in bench.SETTINGS.items():
        monkeypatch.setenv(key, value)
    yield
    machine.set_threads(machine.cores())


@pytest.fixture
def only_numpy(monkeypatch):
    """As where no other peer is installed."""
    real = importlib.util.find_spec
    absent = {"torch", "jax", "keras", "tensorflow"}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name in absent else real(name, *a))
    for name in absent:  # another test may have imported it
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.fixture
def quick():
    made = Bench(quick=True, threads=[1])
    yield made
    made.close()


def row(name="64^3", threads=1, ours=1e-6, theirs=2e-6, spread=0.02, **more):
    timings = {"nnfast": Timing(ours, spread, ours * 0.9, 0.0), "numpy": Timing(theirs, spread, theirs * 0.8, 2.0)}
    work = {"gigaflop": 1e-4, "gigabyte": 1e-5, "peaks": {"gigaflops": 200.0, "gigabytes": 50.0}}
    return Row(name, threads, 25, 1, timings, **{**work, **more})


def result(*rows, section="gemm", **here):
    peaks = {"gigaflops": {"avx2": {"1": 200.0}}, "gigabytes": {"4 MB": {"1": 50.0}}}
    versions = {"nnfast": "0.1", "numpy": "2.0"}
    described = {"cpu": "A CPU", "cores": 2, "isa": "avx2", "isas": ["avx2"], "versions": versions, "peaks": peaks}
    return {"machine": {**described, **here}, "sections": {section: report.section(rows, "2026-01-02")}}


# ---- the command ----


def test_the_command_end_to_end(tmp_path):
    """As a user runs it: without the settings, which it makes itself."""
    file = tmp_path / "results.json"
    env = {k: v for k, v in os.environ.items() if k not in bench.SETTINGS}
    command = [sys.executable, "-m", "nnfast", "bench", "gemm", "--quick", "--rows", "64^3", "--json", str(file)]
    done = subprocess.run([*command, "--threads", "1"], env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "\ngemm\n" in done.stdout and "\n64^3" in done.stdout and "limit, portable: " in done.stdout
    found = bench.read(file)
    assert list(found["sections"]) == ["gemm"]
    (one,) = report.rows_of(found).values()
    assert (one.name, one.threads, one.rounds) == ("64^3", 1, 5)
    assert {"nnfast", "numpy"} <= set(one.timings) and one.best_peer in one.timings
    assert 0 < one.share < 1.5 and one.ratio > 0 and set(one.peaks) == {"gigaflops", "gigabytes"}
    assert found["machine"]["versions"]["numpy"] == np.__version__


@pytest.mark.parametrize(
    "section, rows, expected",
    [
        ("conv2d", "50,7,7,64->128 dw", ["50,7,7,64->128 dw"]),
        ("ops", "add row 128", ["add row 128x512"]),
        ("ops", "softmax 128", ["softmax 128,10 axis 1"]),
        ("ops", "layer_norm 128", ["layer_norm 128,512", "layer_norm 128,512 gradient"]),
        ("ops", "adam 400", ["adam 400000", "adam 4000000"]),
        ("ops", "take_rows", ["take_rows 128x784", "take_rows 128x784 of bytes, scaled"]),
        ("fit", "small", ["small 64-32-10"]),
        ("overhead", "predict of one row, small", ["predict of one row, small 64-32-10"]),
        ("overhead", "step 500, mlp 784-512-10, adam", ["step 500, mlp 784-512-10, adam, dead units"]),
        ("overhead", "subnormal state, mlp 784-512-10, m", ["subnormal state, mlp 784-512-10, momentum, dead units"]),
        ("overhead", "beside a busy process, small", ["beside a busy process, small 64-32-10"]),
        ("overhead", "4 threads for each core, small", ["4 threads for each core, small 64-32-10"]),
    ],
)
def test_sections_measure(section, rows, expected, only_numpy, capsys):
    arguments = ["bench", section, "--quick", "--faults", "--threads", "1", "--rows", rows]
    assert cli.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "not here or no fair peer, left out: torch, jax, keras, tensorflow\n" in printed
    lines = printed.split(f"\n{section}\n")[1].splitlines()
    assert [line for line in lines if any(line.startswith(f"{name} ") for name in expected)]
    for name in expected:
        (line,) = [line for line in lines if line[: len(max(expected, key=len))].rstrip() == name]
        assert "±" in line


def test_memory_is_flat():
    says = robust.memory(Bench(quick=True))
    grown = re.findall(r"([-+][\d.]+) MiB in", says)
    assert len(grown) == 2 and all(float(g) < 2 for g in grown), says


def test_a_bar_is_printed_with_its_row():
    times = {"nnfast": Timing(2.0, 0.1, 2.0, 0), "alone": Timing(1.0, 0.1, 1.0, 0)}
    rows = [Row("a", 1, 5, 0, times, bar=bar) for bar in (0.4, 0.6, None)]
    met, missed, none = bench.table(rows).splitlines()[1:4]
    assert met.endswith("bar 0.40") and missed.endswith("bar 0.60: MISSED") and "bar" not in none


def test_overhead_says_where_a_step_goes(only_numpy, capsys):
    assert cli.main(["bench", "overhead", "--quick", "--faults", "--threads", "1", "--rows", "step, small"]) == 0
    printed = capsys.readouterr().out
    says = re.search(r"10, 1 thread: ([\d.]+) µs of C\+\+; µs of Python: .* ([-\d.]+) in eager$", printed, re.M)
    cpp, python = map(float, says.groups())
    assert cpp > 0 and python > 0
    for way in ("replay(n)", "replay(1)", "train_on_batch", "eager"):
        assert re.search(rf"^    nnfast {re.escape(way)} +[\d.,]+ µs", printed, re.M) or f"nnfast {way} µs" in printed


def test_every_row_has_a_name_of_its_own(monkeypatch):
    names = []
    monkeypatch.setattr(Bench, "wanted", lambda self, name: names.append(name))
    for section in bench.SECTIONS:
        room = importlib.import_module(f"nnfast.bench.{section}")
        before = len(names)
        assert list(room.run(Bench())) == [] and len(names) > before
        assert len(set(names[before:])) == len(names) - before


def test_ops_agree_with_the_peers_that_are_here(quick):
    """Every answer of the small element-wise rows is held to NumPy's, and to PyTorch's where it is installed."""
    from nnfast.bench import elementwise

    for name in elementwise.NAMES:
        made = elementwise.contenders((8, 16), name)
        assert set(quick._ready(name, made, 1, None, 1e-4)) == set(made)


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["bench", "cats"], "unknown section. Known: gemm, conv2d, ops, fit, overhead. Received: 'cats'"),
        (["bench", "gemm", "--quick", "--rows", "no such row"], "no row of gemm has this in its name"),
        (["bench", "cats", "--cuda"], "unknown section. Known: gemm, conv2d, ops, fit, overhead. Received: 'cats'"),
        (["bench", "gemm", "--cuda", "--threads", "1"], "--threads and --faults are for the CPU"),
        (["bench", "gemm", "--cuda", "--rows", "512^3"], "no row of gemm has this in its name"),
        (["bench", "gemm", "--save", "--quick"], "leave out --quick, --tiny, --rows and --faults"),
        (["bench", "--check", "there is no such file"], "cannot read there is no such file"),
        (["bench", "gemm", "--check", "a", "b"], "an old file and perhaps a new one"),
        (["bench", "gemm", "--threads", "1,5000"], "threads are numbers from 1 to 1024"),
        (["bench", "gemm", "--json", "no such folder/a.json"], "--json expects the name of a file: there is no such"),
        (["bench", "gemm", "--plot", "no such folder/a.png"], "--plot expects the name of a file: there is no such"),
    ],
)
def test_mistakes_are_no_tracebacks(arguments, says, monkeypatch, capsys):
    """And are said before anything is measured."""
    monkeypatch.setattr(machine, "peaks", None)
    assert cli.main(arguments if {"--save", "--cuda"} & set(arguments) else [*arguments, "--faults"]) == 1
    message = capsys.readouterr().err
    assert message.startswith("nnfast: [bench] ") and says in message


@pytest.mark.parametrize("tolerance", ["nan", "-1", "1", "inf", "much"])
def test_a_tolerance_is_a_share(tolerance, capsys):
    with pytest.raises(SystemExit):
        cli.main(["bench", "--check", "a", "b", f"--tolerance={tolerance}"])
    assert "expects a number from 0 to below 1. Received" in capsys.readouterr().err


def test_saving_is_refused_before_the_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(machine, "peaks", None)
    assert cli.main(["bench", "gemm", "--save"]) == 1
    assert "which is not in them" in capsys.readouterr().err


def test_a_note_is_a_result(monkeypatch, capsys):
    """The row of memory has no time."""
    monkeypatch.setattr(machine, "peaks", lambda threads: {"gigaflops": {}, "gigabytes": {}})
    monkeypatch.setattr(robust, "memory", lambda bench: "memory: flat")
    assert cli.main(["bench", "overhead", "--quick", "--faults", "--threads", "1", "--rows", "memory"]) == 0
    assert capsys.readouterr().out.endswith("\noverhead\nmemory: flat\n")


def test_no_time_of_python_is_below_nothing():
    times = {"replay(n)": 100, "": 48, "replay(1)": 104, "train_on_batch": 150, "eager": 400}
    timings = {f"nnfast {who}".strip(): Timing(us * 1e-6, 0.05, us * 1e-6, 0.0) for who, us in times.items()}
    says = overhead.python_and_cpp(Row("step", 1, 9, 0, timings))
    assert says == (
        "step, 1 thread: 100.0 µs of C++; µs of Python: none beyond the noise of 3.7 in fit, "
        "none beyond the noise of 5.1 in replay(1), 50.0 in train_on_batch, 300.0 in eager"
    )


# ---- the GPU, or its stand-in, on which every row is computed and none is timed to any purpose ----

gpu_or_emulator = pytest.mark.skipif(not (EMULATOR or GPU), reason="neither a GPU nor the emulator")


@pytest.fixture
def gpu(monkeypatch):
    """The device "cuda"; without a GPU PyTorch computes on the CPU."""
    if not GPU:
        fake_gpu.install(monkeypatch)
        monkeypatch.setattr(peers, "TORCH_DEVICES", {})


@gpu_or_emulator
@pytest.mark.parametrize("section", bench.SECTIONS)
def test_every_row_of_a_gpu_is_right(section, gpu, tmp_path, capsys):
    """On tiny problems: so none of them fails for a slip when a GPU is there."""
    file = tmp_path / "a.json"
    assert cli.main(["bench", "--cuda", section, "--tiny", "--json", str(file)]) == 0, capsys.readouterr().err
    found = bench.read(file)
    rows = [key[1] for key in report.rows_of(found)]
    assert rows == bench.names(importlib.import_module(f"nnfast.bench.{section}"), gpu=True, tiny=True)
    notes = found["sections"][section]["notes"]
    assert not [note for note in notes if "left out" in note]
    if section == "gemm":
        precise, high, medium = [float(re.search(r"nnfast (\S+),", note + ",")[1]) for note in notes]
        assert 1e-9 < precise < 1e-7 <= high * 10 and high <= medium < 1e-2, notes
    printed = capsys.readouterr().out
    assert f"{found['machine']['gpu']}, " in printed and "limit, float32, product of 128^3: " in printed
    assert nnfast.get_device() == "cpu" and not peers.found("cupy")


def test_rows_of_a_gpu_have_names_of_their_own():
    for section in bench.SECTIONS:
        names = bench.names(importlib.import_module(f"nnfast.bench.{section}"), gpu=True)
        assert len(set(names)) == len(names) > 2, section
    assert {"4096^3", "8192^3 medium", "rows 32,4096,4096 high"} < set(bench.names(bench_room("gemm"), gpu=True))
    assert {"32,7,7,512->512 dx NCHW", "32,56,56,64->64 forward high"} < set(
        bench.names(bench_room("conv2d"), gpu=True)
    )


def bench_room(section):
    return importlib.import_module(f"nnfast.bench.{section}")


@pytest.mark.parametrize(
    "error, says",
    [
        (
            ValueError("[set_device] this build of nnfast has no 'cuda'"),
            "nnfast: [set_device] this build of nnfast has",
        ),
        (RuntimeError("[cuda] there is no NVIDIA driver on this machine"), "nnfast: [cuda] there is no NVIDIA driver"),
        (ImportError("[cuda] CuPy cannot be imported"), "nnfast: [cuda] CuPy cannot be imported"),
    ],
)
def test_what_a_gpu_needs_is_said_in_a_line(error, says, monkeypatch, capsys):
    def set_device(name):
        raise error

    monkeypatch.setattr(nnfast.device, "set_device", set_device)
    monkeypatch.setattr(bench.device, "get_device", lambda: "cpu")
    assert cli.main(["bench", "--cuda", "gemm"]) == 1
    printed = capsys.readouterr().err
    assert printed.startswith(says) and printed.count("\n") == 1


class Clock:
    """CuPy as far as `Card` times with it: a copy takes 2 ms, work what it adds to `now`."""

    def __init__(self):
        self.now, self.copies, self.broken = 0.0, 0, False
        clock = self

        class Event:
            def record(self):
                self.at = clock.now

            def synchronize(self):
                pass

        def get_current_stream():
            def synchronize():
                if clock.broken:
                    raise RuntimeError("cudaErrorIllegalAddress")

            return types.SimpleNamespace(synchronize=synchronize)

        self.cuda = types.SimpleNamespace(
            Event=Event,
            get_elapsed_time=lambda a, b: 1000 * (b.at - a.at),
            get_current_stream=get_current_stream,
        )

    def take(self, seconds):
        self.now += seconds

    def copy(self, *_):
        self.copies += 1
        self.now += 0.002


@pytest.fixture
def clocked():
    """A benchmark whose card has the clock above."""
    clock = Clock()
    card = object.__new__(cuda.Card)
    card._cuda, card.copied, card._copy_seconds = clock.cuda, 1 << 20, 1.0
    card._from = card._to = types.SimpleNamespace(data=types.SimpleNamespace(copy_from_device_async=clock.copy))
    made = object.__new__(cuda.GpuBench)
    Bench.__init__(made, threads=[1])
    made.card, made.limits, made.copies, made.clock = card, {"float32": 100.0}, 50.0, clock
    return made


def test_times_of_a_gpu_are_those_between_its_events(clocked):
    assert clocked.card.copy_speed(3) == pytest.approx(2 * (1 << 20) / 0.002)
    before = clocked.clock.copies
    assert clocked.card.sample(lambda: clocked.clock.take(0.5), 4, 0.0099) == pytest.approx(0.5)
    assert clocked.clock.copies - before == 5  # the GPU is busy for at least 9.9 ms, and nobody counts that
    work = {"nnfast": lambda: clocked.clock.take(0.001), "torch": lambda: clocked.clock.take(0.003)}
    (one,) = clocked.compare("a", work, gigaflop=0.05, gigabyte=0.04)
    assert one.rounds == 25 and one.best_peer == "torch" and one.ratio == pytest.approx(3)
    assert one.timings["nnfast"].seconds == pytest.approx(0.001) and one.timings["nnfast"].spread < 1e-6
    assert one.share == pytest.approx(0.8)  # 0.05 GFLOP at 100 GFLOP/s take 0.5 ms, 0.04 GB at 50 GB/s 0.8 ms
    (one,) = clocked.compare("a", work, gigaflop=0.05, unit="TF32")
    assert one.share is None  # that limit was not measured


def test_training_on_a_gpu_is_timed_by_the_clock(clocked):
    work = {"nnfast": lambda: time.sleep(0.002), "torch": lambda: time.sleep(0.006)}
    (one,) = clocked.compare("a", work, wall=True, per=2, rounds=3)
    assert 0.001 <= one.timings["nnfast"].seconds < one.timings["torch"].seconds and 1.2 < one.fastest_ratio < 4


def test_a_row_that_fails_does_not_stop_the_others(clocked):
    def fail():
        raise RuntimeError("no engine found\nand a long story")

    def ones():
        clocked.clock.take(0.001)
        return np.ones(3)

    right = {"nnfast": ones, "torch": ones}
    clocked.quick = True
    (one,) = clocked.compare("peer", {**right, "torch compile": fail})
    assert set(one.timings) == {"nnfast", "torch"}
    assert clocked.notes == ["peer: torch compile left out: RuntimeError: no engine found"] and not clocked.failed
    assert clocked.compare("ours", {**right, "nnfast": fail}) == []
    assert clocked.compare("wrong", {**right, "nnfast": lambda: np.array([1, 1, np.nan])}) == []
    assert clocked.failed[0] == "ours: RuntimeError: no engine found"
    assert clocked.failed[1].startswith("wrong: ValueError: [bench] wrong: nnfast is off by nan")
    assert len(clocked.compare("after", right)) == 1
    clocked.clock.broken = True
    with pytest.raises(timing.Stopped, match="does not answer any more: cudaErrorIllegalAddress"):
        clocked.compare("dead", right)


def test_what_was_measured_is_kept_when_a_run_is_stopped(clocked, monkeypatch, capsys, tmp_path):
    errors = {"stopped": KeyboardInterrupt(), "the GPU is gone": timing.Stopped("the GPU is gone")}

    def rows(bench):
        yield from bench.compare("first", {"nnfast": lambda: bench.clock.take(0.001)})
        bench.failed.append("second: it failed")
        raise errors[says]

    about = {"gpu": "A GPU", "multiprocessors": 3, "arch": "sm_90", "cpu": "A CPU", "cores": 2, "isa": "avx2"}
    about.update(versions={"nnfast": "0.1"}, cuda="CUDA 13.0", peaks={"gigaflops": {}, "gigabytes": {}})
    clocked.describe = lambda: about
    monkeypatch.setattr(cuda, "GpuBench", lambda *_: clocked)
    monkeypatch.setattr(bench, "_choose_gpu", lambda: None)
    monkeypatch.setattr(bench, "names", lambda *_: ["first"])
    monkeypatch.setattr(bench_room("gemm"), "run", rows)
    for says in errors:
        assert cli.main(["bench", "--cuda", "gemm", "conv2d", "--json", str(tmp_path / "a.json")]) == 130
        found = bench.read(tmp_path / "a.json")
        assert list(report.rows_of(found)) == [("gemm", "first", 1)] and found["stopped"] == says
        printed = capsys.readouterr()
        assert "failed: second: it failed" in printed.err and says in printed.err
        assert printed.out.startswith("A GPU, 3 multiprocessors, sm_90; CUDA 13.0, nnfast 0.1\n")
        clocked.failed.clear()


def test_pytorch_in_a_graph_trains_as_it_does_eagerly(monkeypatch):
    """The graph of the whole step, which only a GPU can make, is here the step itself."""
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(fit, "graphed", lambda torch, work: [work() for _ in range(3)] and work)
    for net in fit.TINY.values():
        x, y, start = fit.data(net, 6)
        graph, eager = fit.torch_graph(torch, net, start, x, y), fit.torch_eager(torch, net, start, x, y)
        assert graph() == pytest.approx(eager(), rel=1e-5) and graph() == pytest.approx(eager(), rel=1e-5)


def test_results_of_a_gpu_are_kept_by_its_name(tmp_path, capsys):
    here = {"gpu": "NVIDIA H200", "multiprocessors": 132, "arch": "sm_90", "cuda": "CUDA 13.0"}
    assert machine.file_name({"cpu": "A CPU", "cores": 2, "isa": "avx2", **here}) == "nvidia-h200.json"
    old = result(row(), **here)
    assert check_files(tmp_path, capsys, old, result(row(), **here, cpu="Another", cores=16))[0] == 0
    for other in ({}, {**here, "gpu": "NVIDIA L4"}):
        status, printed = check_files(tmp_path, capsys, old, result(row(), **other))
        assert status == 1 and "Received: gpu 'NVIDIA H200' and " in printed.err
    assert check_files(tmp_path, capsys, result(row()), old)[0] == 1


# ---- timing ----


def test_a_wrong_answer_is_not_timed(quick):
    x = np.arange(4.0)
    with pytest.raises(ValueError, match="nnfast is off by 1"):
        quick.compare("sum", {"nnfast": lambda: x.sum() + 1, "numpy": x.sum})
    with pytest.raises(ValueError, match=r"nnfast gives shape \(4,\)"):
        quick.compare("sum", {"nnfast": lambda: x, "numpy": x.sum})
    with pytest.raises(ValueError, match="nnfast is off by nan"):
        quick.compare("sum", {"nnfast": lambda: np.float64(np.nan), "numpy": x.sum})


def test_times_are_those_of_a_step(quick):
    """A contender that sleeps ten times as long takes longer; `per` divides."""
    contenders = {"nnfast": lambda: time.sleep(0.002), "peer": lambda: time.sleep(0.02)}
    (one,) = quick.compare("sleep", contenders, per=2, gigabyte=1e-5)
    assert one.timings["nnfast"].seconds >= 0.001 and one.timings["peer"].seconds >= 0.01
    assert one.share < 0.1 and "gigaflops" not in one.peaks
    assert quick.compare("sleep", contenders, gigaflop=1e-3, rounds=3)[0].peaks["gigaflops"] > 1


def test_rows_count_by_hand():
    one = row(ours=1e-6, theirs=3e-6)
    assert one.ratio == pytest.approx(3) and one.fastest_ratio == pytest.approx(3 * 0.8 / 0.9)
    assert one.share == pytest.approx(0.5)  # 1e-4 GFLOP at 200 GFLOP/s are 0.5 µs; the bytes take less
    assert row(gigabyte=1e-4).share == pytest.approx(2)
    assert row(peaks={}).share is None
    rows = [row(theirs=2e-6), row(theirs=8e-6), row(threads=2, theirs=5e-6)]
    assert timing.geomean(rows, 1) == pytest.approx(4) and timing.geomean([], 1) is None
    alone = Row("x", 1, 5, 0, {"nnfast": Timing(1.0, 0.0, 1.0, 0.0), "nnfast eager": Timing(2.0, 0.0, 2.0, 0.0)})
    assert alone.best_peer is None and alone.ratio is None


def test_peers_in_processes_of_their_own(quick):
    """They answer, get as many cores as threads, and when one fails or dies the rest goes on."""
    made = {
        "nnfast": lambda: 3,
        "peer": Remote("jax", functools.partial, np.add, 1, 2),
        "fails": Remote("jax", int, "no number"),
        "dies": Remote("keras (jax)", functools.partial, os._exit, 3),
    }
    (one,) = quick.compare("add", made)
    assert set(one.timings) == {"nnfast", "peer"} and one.best_peer == "peer"
    assert quick.notes[0].startswith("add: fails left out: ValueError: invalid literal")
    assert quick.notes[1:] == ["add: dies left out: its process ended"]
    with pytest.raises(ValueError, match="nnfast is off by 1"):
        quick.compare("add", {**made, "nnfast": lambda: 4})
    if hasattr(os, "sched_getaffinity"):
        cores = Remote("jax", functools.partial, os.sched_getaffinity, 0)
        cores.enter(quick._process("jax", 1))
        assert len(cores.answer()) == 1


# ---- results ----


def test_json_round_trip(tmp_path):
    rows = [row(), row("thin", 2, gigaflop=None, peaks={})]
    made = result(*rows)
    bench.write(made, tmp_path / "a.json")
    back = bench.read(tmp_path / "a.json")
    assert back == made
    assert list(report.rows_of(back).values()) == rows
    (tmp_path / "b.json").write_text('{"machine": {}}')
    with pytest.raises(ValueError, match="holds no results"):
        bench.read(tmp_path / "b.json")


def test_results_are_kept_by_machine(tmp_path, monkeypatch):
    """Sections of before stay, the new ones take the place of theirs; elsewhere nothing is written."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="not in them"):
        bench.save(result(row()))
    (tmp_path / "csrc").mkdir()
    (tmp_path / "csrc" / "ops.h").touch()
    (tmp_path / "bench" / "deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "bench" / "deep")
    assert bench.save(result(row("MLP"), section="fit")) == bench.save(result(row("old")))
    path = bench.save(result(row("new")))
    assert path == tmp_path / "bench" / "results" / "a-cpu-2-cores-avx2.json"
    assert [key[:2] for key in report.rows_of(bench.read(path))] == [("gemm", "new"), ("fit", "MLP")]


def check_files(tmp_path, capsys, old, new, *options):
    for name, one in (("old", old), ("new", new)):
        bench.write(one, tmp_path / f"{name}.json")
    status = cli.main(["bench", "--check", str(tmp_path / "old.json"), str(tmp_path / "new.json"), *options])
    return status, capsys.readouterr()


def test_a_regression_is_named(tmp_path, capsys):
    old = result(row(), row("thin", 2, ours=2e-6, theirs=6e-6))
    status, printed = check_files(tmp_path, capsys, old, old)
    assert status == 0 and printed.out == "2 rows compared, 0 worse\n"
    new = result(row(), row("thin", 2, ours=3e-6, theirs=6e-6))
    status, printed = check_files(tmp_path, capsys, old, new)
    assert status == 1
    assert printed.out.splitlines() == [
        "worse: gemm, thin, 2 threads: 3.00 of numpy before, 2.00 now (10% is allowed)",
        "2 rows compared, 1 worse",
    ]
    assert check_files(tmp_path, capsys, old, new, "--tolerance", "0.4")[0] == 0


def test_bare_times_are_not_compared(tmp_path, capsys):
    """A day on which everything takes three times as long is no regression; noise allows more, but not everything."""
    old = result(row())
    assert check_files(tmp_path, capsys, old, result(row(ours=3e-6, theirs=6e-6)))[0] == 0
    slower = {"ours": 1.3e-6, "theirs": 2e-6}
    assert check_files(tmp_path, capsys, old, result(row(**slower)))[0] == 1
    assert check_files(tmp_path, capsys, old, result(row(**slower, spread=0.5)))[0] == 0
    assert check_files(tmp_path, capsys, old, result(row(ours=3e-6, spread=9.0)))[0] == 1
    assert check_files(tmp_path, capsys, old, result(row(ours=float("nan"))))[0] == 1


def test_what_cannot_be_compared_is_said(tmp_path, capsys):
    old = result(row(), row("gone"))
    status, printed = check_files(tmp_path, capsys, old, result(row(), versions={"nnfast": "0.2", "numpy": "2.1"}))
    assert status == 0
    assert printed.out.splitlines() == [
        "numpy was 2.0, is 2.1",
        "1 rows of before were not measured now, the first: gemm, gone, 1 thread",
        "1 rows compared, 0 worse",
    ]
    status, printed = check_files(tmp_path, capsys, old, result(row(), isa="avx512"))
    assert status == 1 and "Received: isa 'avx2' and 'avx512'" in printed.err
    other = copy.deepcopy(old)
    for entry in other["sections"]["gemm"]["rows"]:
        entry["timings"]["torch"] = entry["timings"].pop("numpy")
    status, printed = check_files(tmp_path, capsys, old, other)
    assert status == 1 and "no row with a peer that was measured both times" in printed.err


def test_a_run_is_checked_against_a_file(tmp_path, only_numpy, capsys):
    """A planted past in which nnfast was a hundred times faster beside NumPy."""
    file = tmp_path / "now.json"
    arguments = ["bench", "gemm", "--quick", "--faults", "--threads", "1", "--rows", "64^3", "--json", str(file)]
    assert cli.main(arguments) == 0
    past = json.loads(file.read_text())
    past["sections"]["gemm"]["rows"][0]["timings"]["nnfast"]["seconds"] /= 100
    (tmp_path / "past.json").write_text(json.dumps(past))
    capsys.readouterr()
    assert cli.main([*arguments, "--check", str(tmp_path / "past.json")]) == 1
    assert "worse: gemm, 64^3, 1 thread: " in capsys.readouterr().out


def test_the_table_has_what_was_measured():
    text = report.table([row(), row("thin", 2, theirs=5e-6, gigaflop=None)])
    lines = text.splitlines()
    assert " ".join(lines[1].split()) == "64^3 1 1.0 ± 1% 2.0 ± 1% 100.0 GF/s 50% 2.00 ( 1.78) numpy 0/2"
    assert "10.0 GB/s" in lines[2] and lines[-1] == "geometric mean   2 ratio 5.00"


def test_many_contenders_have_a_line_each():
    several = row("MLP")
    several.timings.update({f"keras {i}": Timing(i * 1e-3, 0.1, 1e-3, 0.0) for i in range(1, 6)})
    lines = report.table([several]).splitlines()
    assert lines[0] == "MLP, 1 thread: ratio 2.00 to numpy (of the fastest samples 1.78)"
    assert " ".join(lines[1].split()) == "nnfast 1.0 µs ± 1% 0 page faults"
    assert " ".join(lines[7].split()) == "keras 5 5,000.0 µs ± 5% 0 page faults"


# ---- pictures ----


def test_the_plot_draws(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    from nnfast.bench.picture import draw

    made = result(row(), row("thin", 2), row("thin", 1))
    made["sections"]["ops"] = report.section([row("add", gigaflop=None), row("pow", gigaflop=None)], "2026-01-02")
    made["sections"]["fit"] = report.section([row("MLP", gigaflop=None, gigabyte=None, peaks={})], "2026-01-02")
    roof, shares, times = draw(made).axes
    assert [text.get_text() for text in roof.texts] == ["thin"]  # with the most threads
    (ours,) = [line for line in roof.lines if line.get_label() == "nnfast"]
    assert ours.get_xydata() == pytest.approx(np.array([[10.0, 100.0]]))
    assert [bar.get_width() for bar in shares.patches] == pytest.approx([0.2, 0.2])
    assert [bar.get_width() for bar in times.patches] == pytest.approx([2, 1])
    bench.plot(made, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(ValueError, match="nothing to draw"):
        draw(result(row(peaks={})))
