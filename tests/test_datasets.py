"""nnfast.datasets: the digits in the package, MNIST and its search, IDX and .npz files that lie."""

import gzip
import hashlib
import io
import math
import os
import struct
import subprocess
import sys
import time
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from local_server import LocalServer, content, endless, status

from nnfast.datasets import digits, mnist
from nnfast.datasets._idx import PARTS, find_idx, read_idx
from nnfast.datasets._npz import read_npz

IDX_TYPES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx_bytes(array):
    header = struct.pack(f">HBB{array.ndim}i", 0, IDX_TYPES[array.dtype.str[1:]], array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def npz_bytes(**arrays):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def files_below(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


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

    def test_are_the_first_of_mnist(self):
        folder = os.environ.get("NNFAST_DATA")
        found = folder and mnist._read(Path(folder), [])
        if not found:
            pytest.skip("NNFAST_DATA names no folder with MNIST")
        for ours, whole in zip([a for split in digits.load_data() for a in split], found.arrays):
            np.testing.assert_array_equal(ours, whole[: len(ours)])

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
            start = time.thread_time()  # not wall time: other tests may run beside this one
            digits.load_data()
            return time.thread_time() - start

        assert min(seconds() for _ in range(5)) < 0.1  # 0.04 on a 2-core machine

    def test_import_is_cheap(self):
        code = "import sys, nnfast.datasets, nnfast.utils; print(sorted(sys.modules))"
        loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        heavy = ("urllib.request", "tarfile", "zipfile", "nnfast.datasets.mnist", "nnfast.datasets.digits")
        assert not [name for name in heavy if f"'{name}'" in loaded]


class TestIdx:
    @pytest.mark.parametrize("pack", [bytes, gzip.compress])
    @pytest.mark.parametrize("dtype", IDX_TYPES)
    @pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 5), (2, 3, 4), (0,), (3, 0, 2), (1,) * 32])
    def test_types_and_shapes(self, tmp_path, dtype, shape, pack):
        array = np.array(np.arange(math.prod(shape)).reshape(shape) * 3 - 7, dtype)
        path = tmp_path / "x"
        path.write_bytes(pack(idx_bytes(array)))
        got = read_idx(path)
        assert got.dtype == array.dtype and got.dtype.isnative and got.shape == shape and got.flags.writeable
        np.testing.assert_array_equal(got, array)

    def test_several_gzip_members(self, tmp_path):
        array = np.arange(100, dtype="f4")
        data = idx_bytes(array)
        (tmp_path / "x").write_bytes(gzip.compress(data[:50]) + gzip.compress(data[50:]))
        np.testing.assert_array_equal(read_idx(tmp_path / "x"), array)

    @pytest.mark.parametrize("pack", [bytes, gzip.compress])
    def test_truncated_anywhere_or_too_long(self, tmp_path, pack):
        data = idx_bytes(np.arange(6, dtype="i2").reshape(2, 3))
        path = tmp_path / "x"
        for wrong in [data[:n] for n in range(len(data))] + [data + b"\0"]:
            path.write_bytes(pack(wrong))
            with pytest.raises(ValueError, match=r"\[read_idx\].*Received: path='.*x'"):
                read_idx(path)

    @pytest.mark.parametrize("end", range(1, 60, 7))
    def test_truncated_gzip(self, tmp_path, end):
        data = gzip.compress(idx_bytes(np.random.default_rng(0).integers(0, 99, 1000).astype("u1")))
        (tmp_path / "x").write_bytes(data[:-end])
        with pytest.raises(ValueError, match="read_idx"):
            read_idx(tmp_path / "x")

    @pytest.mark.parametrize(
        "header, message",
        [
            (b"\0\1\x08\1", "byte 0 to 3: 00 01 08 01 is no IDX magic"),
            (b"\0\0\x0a\1", "00 00 0a 01 is no IDX magic"),
            (b"PK\3\4", "no IDX magic"),
            (b"", "nothing is no IDX magic"),
            (b"\0\0\x08\x21", "byte 3: 33 dimensions"),
            (b"\0\0\x08\xff", "byte 3: 255 dimensions"),
            (struct.pack(">HBB2i", 0, 8, 2, 3, -1), "byte 8: dimension 1 is negative: -1"),
            (struct.pack(">HBB1i", 0, 14, 1, -(2**31)), "byte 4: dimension 0 is negative"),
            (struct.pack(">HBB3i", 0, 14, 3, *[2**31 - 1] * 3), "overflows"),
            (struct.pack(">HBB4i", 0, 8, 4, 0, *[2**31 - 1] * 3), "overflows"),
            (struct.pack(">HBB2i", 0, 8, 2, 2**31 - 1, 2**31 - 1), "cannot hold|needs 4611686014132420621 bytes"),
            (struct.pack(">HBB1i", 0, 8, 1, 2**31 - 1), "cannot hold|needs 2147483655 bytes"),
        ],
    )
    @pytest.mark.parametrize("pack", [bytes, gzip.compress])
    def test_headers_that_lie(self, tmp_path, header, message, pack):
        (tmp_path / "x").write_bytes(pack(header + b"\0" * (32 if header else 0)))
        tracemalloc.start()
        try:
            with pytest.raises(ValueError, match=message):
                read_idx(tmp_path / "x")
            assert tracemalloc.get_traced_memory()[1] < 1 << 20
        finally:
            tracemalloc.stop()

    def test_gzip_bomb_is_read_no_further_than_the_header_says(self, tmp_path):
        buffer = io.BytesIO()
        with gzip.GzipFile(fileobj=buffer, mode="wb") as file:
            file.write(struct.pack(">HBB1i", 0, 8, 1, 100))
            for _ in range(200):
                file.write(bytes(1 << 20))
        (tmp_path / "x").write_bytes(buffer.getvalue())
        tracemalloc.start()
        try:
            with pytest.raises(ValueError, match=r"byte 108: data goes on behind shape \(100,\)"):
                read_idx(tmp_path / "x")
            assert tracemalloc.get_traced_memory()[1] < 4 << 20
        finally:
            tracemalloc.stop()

    def test_flipped_bits_raise_or_give_an_array(self, tmp_path):
        rng = np.random.default_rng(1)
        data = gzip.compress(idx_bytes(rng.integers(0, 99, (50, 4)).astype("u1")))
        for _ in range(300):
            wrong = bytearray(data)
            wrong[rng.integers(len(wrong))] ^= 1 << rng.integers(8)
            (tmp_path / "x").write_bytes(wrong)
            try:
                assert read_idx(tmp_path / "x").shape == (50, 4)
            except ValueError as error:
                assert "[read_idx]" in str(error)

    def test_find_idx_prefers_plain_files(self, tmp_path):
        for name in ("t10k-labels.idx1-ubyte.gz", "t10k-labels-idx1-ubyte.gz", "train-images.idx3-ubyte"):
            (tmp_path / name).touch()
        (tmp_path / "train-labels-idx1-ubyte").mkdir()
        assert {part: path.name for part, path in find_idx(tmp_path).items()} == {
            "train-images": "train-images.idx3-ubyte",
            "t10k-labels": "t10k-labels-idx1-ubyte.gz",
        }


class Harmful:
    """What unpickling would run."""

    def __reduce__(self):
        return (os.mkdir, ("unpickled",))


def npy_bytes(header, data=b""):
    """A .npy file with this text as its header."""
    header = header.encode() + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + data


def npy_header(shape, descr="|u1"):
    return f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}}}"


class TestNpz:
    @pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
    def test_reads_what_numpy_writes(self, tmp_path, save):
        arrays = {
            "a": np.arange(24, dtype=">i2").reshape(2, 3, 4),
            "b": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
            "c": np.array(3, np.uint8),
            "d": np.zeros((0, 5), np.float32),
        }
        save(tmp_path / "x.npz", **arrays)
        got = read_npz(tmp_path / "x.npz", arrays)
        for name, array in arrays.items():
            assert got[name].dtype == array.dtype.newbyteorder("=") and got[name].flags.writeable
            np.testing.assert_array_equal(got[name], array)

    def test_nothing_is_unpickled(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        np.savez("x.npz", x=np.array([Harmful()], object))
        with pytest.raises(ValueError, match="never unpickled"):
            read_npz("x.npz", ["x"])
        assert not Path("unpickled").exists()

    @pytest.mark.parametrize(
        "member, message",
        [
            (npy_bytes(npy_header((10,)), bytes(9)), "needs 10 bytes, 9 are there"),
            (npy_bytes(npy_header((10,)), bytes(11)), "needs 10 bytes, 11 are there"),
            (npy_bytes(npy_header((1 << 62, 1 << 62)), bytes(9)), "are there"),
            (npy_bytes(npy_header((-1, -9)), bytes(9)), "are there"),
            (npy_bytes(npy_header((1.5,)), bytes(9)), "header cannot be read: shape is not valid"),
            (npy_bytes(npy_header((9,), "|O"), bytes(72)), "never unpickled"),
            (npy_bytes("__import__('os').mkdir('unpickled')", bytes(9)), "header cannot be read"),
            (npy_bytes("(" * 200), "header cannot be read"),
            (b"\x93NUMPY\7\0", "version"),
            (b"nothing", "magic"),
            (b"", "magic"),
        ],
    )
    def test_members_that_lie(self, tmp_path, monkeypatch, member, message):
        monkeypatch.chdir(tmp_path)
        with zipfile.ZipFile("x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("x.npy", member)
        with pytest.raises(ValueError, match=rf"\[read_npz\].*{message}"):
            read_npz("x.npz", ["x"])
        assert not Path("unpickled").exists()

    def test_sizes_that_deflate_cannot_reach(self, tmp_path):
        """The directory of the archive claims 8 GB, in accord with the .npy header."""
        header = npy_bytes(npy_header((1 << 33,)))
        with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("x.npy", header + bytes(1000))
            archive.getinfo("x.npy").file_size = len(header) + (1 << 33)
        with pytest.raises(ValueError, match="compressed bytes cannot hold"):
            read_npz(tmp_path / "x.npz", ["x"])

    @pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    def test_other_compressions(self, tmp_path, method):
        with zipfile.ZipFile(tmp_path / "x.npz", "w", method) as archive:
            archive.writestr("x.npy", npy_bytes(npy_header((4,)), bytes(4)))
        with pytest.raises(ValueError, match="expected stored or deflated"):
            read_npz(tmp_path / "x.npz", ["x"])

    def test_damage(self, tmp_path):
        rng = np.random.default_rng(2)
        array = rng.integers(0, 9, 500).astype(np.uint8)
        data, path = npz_bytes(x=array), tmp_path / "x.npz"
        for end in range(0, len(data), 5):
            path.write_bytes(data[:end])
            with pytest.raises(ValueError, match="read_npz"):
                read_npz(path, ["x"])
        for _ in range(300):
            wrong = bytearray(data)
            wrong[rng.integers(len(wrong))] ^= 1 << rng.integers(8)
            path.write_bytes(wrong)
            try:
                np.testing.assert_array_equal(read_npz(path, ["x"])["x"], array)
            except ValueError as error:
                assert "[read_npz]" in str(error)

    def test_missing_array(self, tmp_path):
        np.savez(tmp_path / "x.npz", y=np.zeros(3))
        with pytest.raises(ValueError, match=r"no array 'x', only \['y.npy'\]"):
            read_npz(tmp_path / "x.npz", ["x"])


def small_set(seed=0, train=30, test=20):
    """A set of MNIST's form: x_train, y_train, x_test, y_test."""
    rng = np.random.default_rng(seed)
    return [
        array
        for count in (train, test)
        for array in (rng.integers(0, 256, (count, 28, 28), np.uint8), rng.integers(0, 10, count, np.uint8))
    ]


def set_as_npz(arrays):
    return npz_bytes(**dict(zip(["x_train", "y_train", "x_test", "y_test"], arrays)))


def write_idx(folder, arrays, dots=False, packed=False):
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in zip(PARTS.values(), arrays):
        name = name.replace("-idx", ".idx") if dots else name
        data = idx_bytes(array)
        (folder / (name + ".gz" if packed else name)).write_bytes(gzip.compress(data, 1) if packed else data)


def write_npz(path, arrays):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(set_as_npz(arrays))


def assert_is(loaded, arrays):
    (x_train, y_train), (x_test, y_test) = loaded
    for got, expected in zip((x_train, y_train, x_test, y_test), arrays):
        assert got.dtype == np.uint8
        np.testing.assert_array_equal(got, expected)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty machine: no data, no environment, no mirrors; a set of 30 + 20 images counts as complete."""
    for name in ("NNFAST_DATA", "KERAS_HOME", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NNFAST_HOME", str(tmp_path / "home"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(mnist, "COUNTS", (30, 20))
    monkeypatch.setattr(mnist, "NPZ_MIRRORS", [])
    monkeypatch.setattr(mnist, "IDX_MIRRORS", [])
    return tmp_path


class TestMnistSearch:
    @pytest.mark.parametrize("packed", [False, True])
    @pytest.mark.parametrize("dots", [False, True])
    @pytest.mark.parametrize("sub", ["", "mnist", "MNIST/raw"])
    @pytest.mark.parametrize("how", ["path", "relative", "NNFAST_DATA", "file"])
    def test_idx(self, place, monkeypatch, sub, dots, packed, how):
        arrays = small_set()
        write_idx(place / "here/set" / sub, arrays, dots, packed)
        if how == "NNFAST_DATA":
            monkeypatch.setenv("NNFAST_DATA", str(place / "here/set"))
            assert_is(mnist.load_data(), arrays)
        elif how == "file":
            assert_is(mnist.load_data(next((place / "here/set" / sub).glob("t10k-labels*"))), arrays)
        else:
            assert_is(mnist.load_data("set" if how == "relative" else place / "here/set"), arrays)

    def test_npz(self, place, monkeypatch):
        arrays = [small_set(seed) for seed in range(5)]
        monkeypatch.setattr(mnist, "NPZ", (*mnist.NPZ[:2], hashlib.sha256(set_as_npz(arrays[3])).hexdigest()))
        monkeypatch.setattr(mnist, "TEST_LABELS", hashlib.sha256(arrays[4][3].tobytes()).hexdigest())
        monkeypatch.setenv("NNFAST_DATA", str(place / "data"))
        paths = [place / name for name in ("own.npz", "here/mnist.npz", "data/mnist.npz", "home/datasets/mnist.npz")]
        paths.append(place / "here/data/mnist/mnist.npz")
        for path, one in zip(paths, arrays):
            write_npz(path, one)
        assert_is(mnist.load_data(str(place / "own.npz")), arrays[0])
        for path, one in zip(paths[1:], arrays[1:]):  # from the first place to the last
            assert_is(mnist.load_data(), one)
            path.unlink()
        with pytest.raises(FileNotFoundError):
            mnist.load_data()

    def test_whole_mnist_is_no_cause_for_a_warning(self, place, monkeypatch):
        monkeypatch.undo()
        assert mnist.COUNTS == (60000, 10000)
        shapes = [(60000, 28, 28), (60000,), (10000, 28, 28), (10000,)]
        write_npz(place / "x.npz", [np.zeros(shape, np.uint8) for shape in shapes])
        (x_train, y_train), (x_test, y_test) = mnist.load_data(place / "x.npz")
        assert [a.shape for a in (x_train, y_train, x_test, y_test)] == shapes

    @pytest.mark.parametrize("train, test", [(29, 20), (30, 19), (1, 0), (31, 20)])
    def test_incomplete_sets_are_used_with_a_warning(self, place, monkeypatch, train, test):
        arrays = small_set(train=train, test=test)
        write_idx(place / "data/mnist", arrays)
        monkeypatch.setenv("NNFAST_DATA", str(place / "data"))
        message = rf"data.mnist holds {train} training and {test} test images; the whole of MNIST has 30 and 20"
        with pytest.warns(UserWarning, match=message) as caught:
            assert_is(mnist.load_data(), arrays)
        assert caught[0].filename == __file__

    def test_cache_homes(self, place, monkeypatch):
        arrays = small_set()
        monkeypatch.setattr(mnist, "NPZ", (*mnist.NPZ[:2], hashlib.sha256(set_as_npz(arrays)).hexdigest()))
        monkeypatch.delenv("NNFAST_HOME")
        monkeypatch.setenv("HOME", str(place))
        monkeypatch.setenv("USERPROFILE", str(place))
        write_npz(place / ".keras/datasets/mnist.npz", arrays)
        assert_is(mnist.load_data(), arrays)
        (place / ".keras").rename(place / "keras")
        monkeypatch.setenv("KERAS_HOME", str(place / "keras"))
        assert_is(mnist.load_data("mnist.npz"), arrays)

    def test_other_sets_in_the_current_folder_are_not_taken_for_mnist(self, place):
        write_idx(place / "here/data", small_set())
        with pytest.raises(FileNotFoundError, match=r"here.data: its test labels are not those of MNIST"):
            mnist.load_data()
        (place / "here/data/t10k-labels-idx1-ubyte").write_bytes(b"damaged")
        with pytest.raises(FileNotFoundError, match="no IDX magic"):
            mnist.load_data()

    @pytest.mark.parametrize("path", ["no/such/mnist.npz", "./nothing.npz", "/no/such/folder"])
    def test_a_precise_path_is_not_replaced(self, place, path):
        with pytest.raises(FileNotFoundError, match=r"path holds no MNIST: .*does not exist"):
            mnist.load_data(path)

    def test_an_empty_folder(self, place):
        (place / "empty").mkdir()
        (place / "empty/train-labels-idx1-ubyte.gz").touch()
        lacks = "lacks train-images-idx3-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte"
        with pytest.raises(FileNotFoundError, match=f"{lacks}; .*empty: holds neither mnist.npz nor a set of IDX"):
            mnist.load_data(place / "empty")

    @pytest.mark.parametrize(
        "change, message",
        [
            (lambda a: [a[0].astype(np.float32), *a[1:]], r"Received: float32 \(30, 28, 28\) and uint8 \(30,\)"),
            (lambda a: [a[0], a[1].astype(np.int64), *a[2:]], "and int64"),
            (lambda a: [a[0][:29], *a[1:]], r"training set must be .* \(29, 28, 28\) and uint8 \(30,\)"),
            (lambda a: [*a[:2], a[2].reshape(20, 784), a[3]], r"test set must be .*\(20, 784\)"),
            (lambda a: [*a[:3], a[3][:, None]], r"\(20, 1\)"),
            (lambda a: [*a[:3], np.array([1, 2, 10, *[0] * 17], np.uint8)], "test label 2 is 10, expected 0 to 9"),
        ],
    )
    @pytest.mark.parametrize("where", ["path", "NNFAST_DATA"])
    def test_wrong_content(self, place, monkeypatch, change, message, where):
        write_npz(place / "set/mnist.npz", change(small_set()))
        monkeypatch.setenv("NNFAST_DATA", str(place / "set"))
        with pytest.raises(ValueError, match=message):
            mnist.load_data(place / "set/mnist.npz" if where == "path" else "mnist.npz")

    def test_damaged_files_that_were_asked_for(self, place, monkeypatch):
        write_npz(place / "set/mnist.npz", small_set())
        with open(place / "set/mnist.npz", "r+b") as file:
            file.truncate(10_000)
        with pytest.raises(ValueError, match="not a zip file"):
            mnist.load_data(place / "set")
        monkeypatch.setenv("NNFAST_DATA", str(place / "set"))
        with pytest.raises(ValueError, match="not a zip file"):
            mnist.load_data()


class TestMnistDownload:
    @pytest.fixture
    def server(self, place, monkeypatch):
        """Two .npz mirrors, two IDX mirrors: /a/ /b/ and /c/ /d/, all empty."""
        self.arrays = small_set()
        self.npz = set_as_npz(self.arrays)
        self.idx = {name + ".gz": gzip.compress(idx_bytes(a)) for name, a in zip(PARTS.values(), self.arrays)}
        with LocalServer() as server:
            monkeypatch.setattr(mnist, "NPZ_MIRRORS", [server.url + "/a/", server.url + "/b/"])
            monkeypatch.setattr(mnist, "IDX_MIRRORS", [server.url + "/c/", server.url + "/d/"])
            monkeypatch.setattr(mnist, "NPZ", ("mnist.npz", len(self.npz), hashlib.sha256(self.npz).hexdigest()))
            pins = [(name, len(data), hashlib.sha256(data).hexdigest()) for name, data in self.idx.items()]
            monkeypatch.setattr(mnist, "IDX", tuple(pins))
            yield server

    def test_once(self, place, server):
        server.answers["/a/mnist.npz"] = content(self.npz)
        for _ in range(2):
            assert_is(mnist.load_data(), self.arrays)
        assert server.requests == ["/a/mnist.npz"]
        assert files_below(place) == ["home/datasets/mnist.npz"]

    @pytest.mark.parametrize("fault", ["404", "truncated", "wrong hash", "endless", "redirect", "closed"])
    def test_the_second_mirror_helps(self, place, server, fault):
        server.answers["/b/mnist.npz"] = content(self.npz)
        server.answers["/a/mnist.npz"] = {
            "404": status(404),
            "truncated": content(self.npz[:-1], claimed=len(self.npz)),
            "wrong hash": content(self.npz[:-1] + b"\1"),
            "endless": endless(self.npz),
            "redirect": status(302, Location="file://" + str(place / "planted.npz")),
            "closed": lambda handler: None,
        }[fault]
        write_npz(place / "planted.npz", small_set(seed=1))
        assert_is(mnist.load_data(), self.arrays)
        assert server.requests == ["/a/mnist.npz", "/b/mnist.npz"]
        assert files_below(place) == ["home/datasets/mnist.npz", "planted.npz"]

    def test_idx_files_from_two_mirrors(self, place, server):
        names = list(self.idx)
        for name in names[:2]:
            server.answers["/c/" + name] = content(self.idx[name])
        for name in names[1:]:
            server.answers["/d/" + name] = content(self.idx[name])
        for _ in range(2):
            assert_is(mnist.load_data(), self.arrays)
        asked = ["/c/" + name for name in names[:3]] + ["/d/" + name for name in names[2:]]
        assert server.requests == ["/a/mnist.npz", "/b/mnist.npz", *asked]
        assert files_below(place) == sorted("home/datasets/mnist/" + name for name in names)

    def test_damaged_cache_is_not_used(self, place, server):
        path = place / "home/datasets/mnist.npz"
        write_npz(path, small_set(seed=1))  # a good .npz file, but not MNIST's
        wrong = "does not have the SHA-256 of MNIST"
        with pytest.warns(UserWarning, match=f"not used: .*{wrong}"), pytest.raises(FileNotFoundError, match=wrong):
            mnist.load_data()
        assert_is(mnist.load_data(path), small_set(seed=1))  # asked for by name, it is used
        server.answers["/a/mnist.npz"] = content(self.npz)
        with pytest.warns(UserWarning, match="not used"):
            assert_is(mnist.load_data(), self.arrays)
        assert_is(mnist.load_data(), self.arrays)

    def test_damaged_idx_cache_is_downloaded_again(self, place, server):
        for name, data in self.idx.items():
            server.answers["/c/" + name] = content(data)
        mnist.load_data()
        name = next(iter(self.idx))
        (place / "home/datasets/mnist" / name).write_bytes(self.idx[name][:-1])
        server.requests.clear()
        assert_is(mnist.load_data(), self.arrays)
        assert server.requests == ["/a/mnist.npz", "/b/mnist.npz", "/c/" + name]

    def test_offline(self, place, server, monkeypatch):
        server.server_close()
        monkeypatch.setenv("NNFAST_DATA", str(place / "nowhere"))
        with pytest.raises(FileNotFoundError) as caught:
            mnist.load_data()
        message = str(caught.value)
        for part in (
            "[mnist.load_data] MNIST is not on this machine and could not be downloaded. Received: path='mnist.npz'",
            str(place / "here/mnist.npz") + ": does not exist",
            str(place / "nowhere") + ": does not exist",
            str(place / "home/datasets/mnist.npz") + ": does not exist",
            str(place / "here/data") + ": does not exist",
            server.url + "/a/mnist.npz",
            server.url + "/b/mnist.npz",
            server.url + "/c/train-images-idx3-ubyte.gz",
            server.url + "/d/train-images-idx3-ubyte.gz",
            "NNFAST_DATA",
            "nnfast.datasets.digits",
        ):
            assert part in message

    def test_a_cache_that_cannot_be_written(self, place, server):
        (place / "home").write_bytes(b"a file, not a folder")
        server.answers["/a/mnist.npz"] = content(self.npz)
        with pytest.raises(FileNotFoundError, match=r"could not be downloaded.*\n(.*\n)*.*home"):
            mnist.load_data()
        assert files_below(place) == ["home"] and server.requests == []

    def test_two_processes_at_once(self, place, server):
        server.answers["/a/mnist.npz"] = content(self.npz)
        code = (
            "from nnfast.datasets import mnist; "
            f"mnist.NPZ_MIRRORS, mnist.NPZ, mnist.COUNTS = [{server.url + '/a/'!r}], {mnist.NPZ!r}, (30, 20); "
            "mnist.load_data()"
        )
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}  # the current folder has changed
        command = [sys.executable, "-W", "error", "-c", code]
        both = [subprocess.Popen(command, env=environment) for _ in range(2)]
        assert [process.wait(60) for process in both] == [0, 0]
        assert files_below(place) == ["home/datasets/mnist.npz"]
        assert_is(mnist.load_data(), self.arrays)

    def test_the_pins_are_well_formed(self):
        assert [name for name, _, _ in mnist.IDX] == [name + ".gz" for name in PARTS.values()]
        for _, size, sha256 in (mnist.NPZ, *mnist.IDX):
            assert size > 4000 and len(sha256) == 64 and int(sha256, 16)
        assert all(url.startswith("https://") and url.endswith("/") for url in mnist.NPZ_MIRRORS + mnist.IDX_MIRRORS)
