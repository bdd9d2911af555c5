"""nnfast.datasets: the digits in the package."""

import hashlib
import time

import numpy as np
from nnfast.datasets import digits


class TestDigits:
    def test_arrays(self):
        (x_train, y_train), (x_test, y_test) = digits.load_data()
        arrays = [x_train, y_train, x_test, y_test]
        assert [a.shape for a in arrays] == [(6000, 28, 28), (6000,), (1000, 28, 28), (1000,)]
        assert all(a.dtype == np.uint8 and a.flags.c_contiguous and a.flags.writeable for a in arrays)
        # SHA-256 of the first 6,000 and 1,000 images and labels of MNIST's own IDX files.
        assert [hashlib.sha256(a.tobytes()).hexdigest()[:16] for a in arrays] == [
            "20ab3c8c9dbabb74",
            "493b332089ef4945",
            "f8f3c5a608a9f7d4",
            "d14ba0a1a3818ede",
        ]

    def test_every_call_gives_new_arrays(self):
        digits.load_data()[0][0][:] = 0
        assert digits.load_data()[0][0].any()

    def test_pack_is_lossless(self):
        rng = np.random.default_rng(0)
        for images in (
            rng.integers(0, 256, (5, 28, 28), np.uint8),
            rng.integers(0, 2, (5, 28, 28), np.uint8) * 255,
            np.zeros((2, 28, 28), np.uint8),
            np.zeros((0, 28, 28), np.uint8),
        ):
            np.testing.assert_array_equal(digits.unpack(*digits.pack(images)), images)

    def test_loads_fast(self):
        def seconds():
            start = time.perf_counter()
            digits.load_data()
            return time.perf_counter() - start

        assert min(seconds() for _ in range(5)) < 0.2  # 0.045 on a busy 2-core machine
