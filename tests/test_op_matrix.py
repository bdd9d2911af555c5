"""Every kernel on every device, ISA, dtype, layout, size and number of threads, from the one table in cases.py.

Every day pairs: any two of engine, dtype, layout and size meet in some run of each case. With `-m full`, all products.
"""

import functools
import itertools
import zlib

import gpu_engine
import numpy as np
import pytest
from cases import CASES, Case, Changed
from compare import assert_close
from conftest import EMULATOR
from layouts import LAYOUTS

import nnfast
from nnfast import _cpu, reference

MODULES = {"reference": reference}  # any other engine is an ISA of _cpu
if GPU_ENGINE := gpu_engine.load():
    MODULES["cuda"] = GPU_ENGINE
elif EMULATOR:
    MODULES["cuda-emulator"] = EMULATOR
ENGINES = [*_cpu.isas(), *MODULES]
DTYPES = [np.dtype(np.float32), np.dtype(np.float64)]
HOUSEKEEPING = {"isa", "isas", "use_isa", "set_num_threads", "num_threads", "memory", "empty_cache", "set_cache_cap"}
HOUSEKEEPING |= {"gemm_path", "use_gemm_path", "matmul_unit", "matmul_units", "use_matmul_unit"}
HOUSEKEEPING |= {"Plan", "Slot", "next_rows", "put_rows"}  # test_replay.py
MEMORY = {"empty", "version"}  # no arithmetic: test_memory_of_variables
NOT_YET = {c.kernel for c in CASES} - set(dir(_cpu))


@pytest.fixture(autouse=True)
def restore_isa():
    before = _cpu.isa()
    yield
    _cpu.use_isa(before)


def everywhere(value, f):
    """f of every array, also inside lists."""
    if isinstance(value, list):
        return [everywhere(v, f) for v in value]
    return f(value) if isinstance(value, (np.ndarray, Changed)) else value


def run(module, one: Case, args, kwargs, layout):
    """The results of a kernel: what it returns, then what it changed. Inputs must stay as they were."""
    changed, inputs = [], []

    def prepare(a):
        if isinstance(a, Changed):
            changed.append(a.array.copy())
            return changed[-1]
        b = layout(a) if a.ndim else a
        inputs.append((b, a))
        return b

    args = [everywhere(a, prepare) for a in args]
    result = getattr(module, one.kernel)(*args, **{k: everywhere(v, prepare) for k, v in kwargs.items()})
    for given, before in inputs:
        np.testing.assert_array_equal(given, before, f"{one} changed an argument")
    results = result if isinstance(result, (tuple, list)) else () if result is None else (result,)
    return [*results, *changed]


def wide(value):
    """float32 arrays in float64: what the reference computes from, where the result need not be exact."""
    f = lambda a: a.astype(np.float64) if a.dtype == np.float32 else a  # noqa: E731
    return everywhere(value, lambda a: Changed(f(a.array)) if isinstance(a, Changed) else f(a))


@functools.lru_cache(maxsize=64)
def arguments(one: Case, dtype, size):
    rng = np.random.default_rng(zlib.crc32(f"{one} {dtype} {size}".encode()))
    return one.make(rng, dtype, size)


@functools.lru_cache(maxsize=64)
def expected(one: Case, dtype, size):
    args, kwargs = arguments(one, dtype, size)
    if not one.exact:
        args, kwargs = [wide(a) for a in args], {k: wide(v) for k, v in kwargs.items()}
    return run(reference, one, args, kwargs, lambda a: a)


def check(one: Case, engine, dtype, layout, size):
    if engine not in MODULES:
        _cpu.use_isa(engine)
    args, kwargs = arguments(one, dtype, size)
    got = run(MODULES.get(engine, _cpu), one, args, kwargs, layout)
    want = expected(one, dtype, size)
    assert len(got) == len(want)
    for g, w in zip(got, want):
        if one.exact or w is None or w.dtype.kind != "f":
            assert (g is None) == (w is None)
            if w is not None:
                assert g.dtype == w.dtype and g.shape == w.shape
                np.testing.assert_array_equal(g, w)
            continue
        assert g.dtype in (dtype, w.dtype)
        magnitude = max(1.0, float(np.abs(w[np.isfinite(w)]).max(initial=0)))
        assert_close(g / g.dtype.type(magnitude), (w / magnitude).astype(g.dtype), scale=one.scale)


@functools.lru_cache
def pairs(*lengths):
    """Combinations in which any two values of any two factors meet. Greedy: always the one with the most new pairs."""
    combinations = list(itertools.product(*map(range, lengths)))
    meets = [set(itertools.combinations(enumerate(c), 2)) for c in combinations]
    missing, chosen = set().union(*meets), []
    while missing:
        best = max(range(len(combinations)), key=lambda i: len(meets[i] & missing))
        chosen.append(combinations[best])
        missing -= meets[best]
    return chosen


def check_all(one, picked):
    factors = (ENGINES, DTYPES, LAYOUTS, one.sizes)
    for combination in sorted(picked, key=lambda c: (c[3], c[1], c[0])):  # arguments are made once per size and dtype
        engine, dtype, layout, size = (values[i] for values, i in zip(factors, combination))
        try:
            check(one, engine, dtype, layout, size)
        except Exception as e:
            raise AssertionError(f"{one} on {engine}, {dtype}, {layout.__name__}, size {size}: {e}") from e


@pytest.mark.parametrize("one", CASES, ids=str)
def test_pairs(one):
    check_all(one, pairs(len(ENGINES), len(DTYPES), len(LAYOUTS), len(one.sizes)))


@pytest.mark.full
@pytest.mark.parametrize("one", CASES, ids=str)
def test_full_product(one):
    lengths = (len(ENGINES), len(DTYPES), len(LAYOUTS), len(one.sizes))
    check_all(one, itertools.product(*map(range, lengths)))


@pytest.mark.parametrize("one", [c for c in CASES if c.large], ids=str)
def test_threads_do_not_change_a_bit(one):
    dtype = DTYPES[0]
    args, kwargs = one.make(np.random.default_rng(1), dtype, one.large)
    results = []
    for threads in (1, 2, 5):
        nnfast.set_num_threads(threads)
        results.append(run(_cpu, one, args, kwargs, lambda a: a))
    for other in results[1:]:
        for a, b in zip(results[0], other):
            assert (a is None) == (b is None)
            assert a is None or a.tobytes() == b.tobytes()


def test_the_pairs_are_all_there():
    chosen = pairs(5, 2, 7, 6)
    for i, j in itertools.combinations(range(4), 2):
        lengths = (5, 2, 7, 6)
        assert {(c[i], c[j]) for c in chosen} == set(itertools.product(range(lengths[i]), range(lengths[j])))


def test_every_kernel_has_a_case():
    kernels = {n for n in dir(_cpu) if not n.startswith("_") and callable(getattr(_cpu, n))}
    missing = kernels - {c.kernel for c in CASES} - HOUSEKEEPING - MEMORY
    assert not missing, f"add cases for {sorted(missing)} to tests/cases.py"
    assert not NOT_YET, f"_cpu lacks {sorted(NOT_YET)}"


@pytest.mark.parametrize("kernels", [_cpu, reference], ids=["cpu", "reference"])
def test_memory_of_variables(kernels):
    """empty gives the memory, version counts what kernels write to it."""
    a = kernels.empty([2, 3], "float64", for_life=True)
    assert a.shape == (2, 3) and a.dtype == np.float64 and kernels.version(a) == 0
    kernels.copy(np.ones((2, 3)), a)
    kernels.copy(np.ones(3), a[0])
    assert kernels.version(a) == 2 or kernels is reference  # the twin counts whole arrays alone
    assert kernels.empty([0, 4], "int32").shape == (0, 4)
