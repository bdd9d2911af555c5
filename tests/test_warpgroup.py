"""mbarriers, TMA and wgmma as the emulator runs them: layouts by the formulas of the PTX ISA, and mistakes."""

import re
from pathlib import Path

import numpy as np
import pytest

from nnfast.ladder import lessons

SOURCE = Path(__file__).parent / "cuda" / "warpgroups.cu"
try:
    lessons.gcc()
    WHY = ""
except ValueError as e:
    WHY = str(e)
pytestmark = pytest.mark.skipif(bool(WHY), reason=WHY)


@pytest.fixture(scope="module", params=[False, True], ids=["emulator", "lesson mode"])
def kernels(request):
    return lessons.compile_kernels(SOURCE, observed=request.param)


def bfloat16(x):
    """The bits of numbers that need no rounding."""
    bits = np.asarray(x, np.float32).view(np.uint32)
    assert not (bits & 0xFFFF).any()
    return (bits >> 16).astype(np.uint16)


def run(kernels, name, arguments, outputs=("y",)):
    report = kernels.run(name, arguments, outputs)
    assert not report.faults, str(report)
    return report.arrays["y"]


@pytest.mark.parametrize("column, row", [(0, 0), (64, 0), (8, 30), (-5, -3), (70, 80), (200, 0)])
def test_a_copy_lies_in_shared_memory_as_the_swizzle_says(kernels, column, row):
    """Row r at 128 r, its parts of 16 bytes exchanged by r % 8; zeros beyond the ends, not what lies between rows."""
    rows, columns = 90, 75
    x = np.arange(rows * 80, dtype=np.uint16).reshape(rows, 80)  # 80: rows begin at multiples of 16 bytes
    x[:, columns:] = 0xFFFF
    arguments = {"rows": rows, "columns": columns, "column": column, "row": row, "x": x}
    y = run(kernels, "run_copy", {**arguments, "y": np.zeros(64 * 64, np.uint16)})
    right = np.zeros((64, 64), np.uint16)
    for r in range(64):
        for c in range(64):
            if 0 <= row + r < rows and 0 <= column + c < columns:
                right[r, (c // 8 ^ r % 8) * 8 + c % 8] = x[row + r, column + c]
    np.testing.assert_array_equal(y.reshape(64, 64), right)


PIXELS = {  # [N,H,W,C]; lower and upper corners, steps, of H and W; the first pixel and its channel; offsets
    "same": ((3, 5, 6, 64), (-1, -1), (-1, -1), (1, 1), (0, -1, 2, 0), (2, 1)),
    "padded, several lines": ((64, 14, 9, 64), (-1, -1), (-1, -1), (1, 1), (0, 4, 7, 0), (0, 0)),
    "valid": ((64, 14, 9, 64), (0, 0), (-2, -2), (1, 1), (0, 4, 6, 0), (2, 2)),
    "strided": ((64, 14, 8, 64), (-1, -1), (-1, -1), (2, 2), (0, 5, 5, 0), (1, 1)),
    "beyond the last image": ((2, 7, 9, 72), (-2, -1), (0, -1), (3, 2), (1, 1, 3, 64), (4, 0)),
    "few channels": ((9, 3, 4, 8), (-3, -3), (1, 1), (1, 1), (7, -3, -3, 0), (2, 2)),
}


@pytest.mark.parametrize("name", PIXELS)
def test_a_copy_of_pixels(kernels, name):
    """Corners of a filter in a box, along W, H, N, each moved by the offsets; swizzled as above."""
    shape, lower, upper, step, (n, h, w, channel), offset = PIXELS[name]
    x = (np.arange(np.prod(shape)) % 65521).astype(np.uint16).reshape(shape)
    box = {"lower": lower, "upper": upper, "step": step}
    arguments = dict(zip("NHWC", shape)) | {f"{k}_{d}": v for k, pair in box.items() for d, v in zip("hw", pair)}
    arguments |= {"channel": channel, "n": n, "h": h, "w": w, "offset_h": offset[0], "offset_w": offset[1]}
    y = run(kernels, "run_pixels", arguments | {"x": x, "y": np.zeros(64 * 64, np.uint16)})
    corners = [
        (image, row, column)
        for image in range(shape[0] + 64)
        for row in range(lower[0], shape[1] + upper[0], step[0])
        for column in range(lower[1], shape[2] + upper[1], step[1])
    ]
    begin = corners.index((n, h, w))
    right = np.zeros((64, 64), np.uint16)
    for r, (image, row, column) in enumerate(corners[begin : begin + 64]):
        at = row + offset[0], column + offset[1]
        if image < shape[0] and 0 <= at[0] < shape[1] and 0 <= at[1] < shape[2]:
            for c, value in enumerate(x[image, at[0], at[1], channel : channel + 64]):
                right[r, (c // 8 ^ r % 8) * 8 + c % 8] = value
    assert right.any()
    np.testing.assert_array_equal(y.reshape(64, 64), right)


@pytest.mark.parametrize("n", [128, 256])
def test_a_product_and_where_its_registers_are(kernels, n, rng):
    """Lane 4 g + t of warp w, register 4 j + 2 h + i: row 16 w + 8 h + g, column 8 j + 2 t + i."""
    a, b = (rng.integers(-8, 9, (rows, 64)).astype(np.float32) for rows in (64, n))
    y = run(kernels, f"run_product_{n}", {"a": bfloat16(a), "b": bfloat16(b), "y": np.zeros((128, n), np.float32)})
    thread, register = np.mgrid[:128, : n // 2]
    row = thread // 32 * 16 + register // 2 % 2 * 8 + thread % 32 // 4
    column = register // 4 * 8 + thread % 4 * 2 + register % 2
    np.testing.assert_array_equal(y[:, n // 2 :], (a @ b.T)[row, column] + register)
    # Before the wait the products have not begun: who forgets it sees that.
    np.testing.assert_array_equal(y[:, : n // 2], register)


def test_phases_of_mbarriers(kernels):
    y = run(kernels, "run_hand_over", {"rounds": 9, "y": np.zeros(64, np.int32)})
    np.testing.assert_array_equal(y, np.full(64, sum(n * n for n in range(9))))


MISTAKES = [  # as the enumeration of the file
    "",
    r"\[mbarrier\] it has not been initialised: thread 0 at warpgroups.cu:\d+",
    r"\[deadlock\] .* 128 threads \(the first: 0\) wait at warpgroups.cu:\d+ for an mbarrier",
    r"\[mbarrier\] more arrivals than it counts",
    r"\[mbarrier\] more bytes arrive than it expects",
    r"\[wgmma\] wgmma_fence comes before",
    r"\[wgmma\] the threads of a warpgroup give different operands",
    r"\[tma\] a tile that is swizzled by 128 bytes must begin at a multiple of 1024 bytes",
    r"\[wgmma\] the eight rows that are swizzled together must begin at a multiple of 1024 bytes",
    r"\[wgmma\] an operand does not lie in the dynamic shared memory",
    r"\[wgmma\] 16 numbers from there on are not in one row",
    r"\[deadlock\] .* 96 threads \(the first: 32\) wait at warpgroups.cu:\d+ for a barrier of some warps",
]


@pytest.mark.parametrize("kind", range(len(MISTAKES)))
def test_mistakes_are_named(kernels, kind):
    report = kernels.run("run_mistake", {"kind": kind, "x": np.zeros((128, 64), np.uint16), "y": np.zeros(128, "f4")})
    if kind == 0:
        assert not report.faults, str(report)
    else:
        [fault] = report.faults
        assert re.search(MISTAKES[kind], str(fault), re.S), str(report)
