"""fashion_mnist, cifar10, imdb, california_housing: found, downloaded, checked, refused; shuffled as Keras does."""

import gzip
import hashlib
import io
import json
import os
import struct
import tarfile

import numpy as np
import pytest
from local_server import LocalServer, content, status

import nnfast
from nnfast.datasets import california_housing, cifar10, fashion_mnist, imdb
from nnfast.datasets._search import File

MODULES = (fashion_mnist, cifar10, imdb, california_housing)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty machine: no data, no environment, no mirrors."""
    for name in ("NNFAST_DATA", "KERAS_HOME", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NNFAST_HOME", str(tmp_path / "home"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for module in MODULES:
        monkeypatch.setattr(module, "MIRRORS", [])
    return tmp_path


@pytest.fixture
def server(place, monkeypatch):
    """Two mirrors, /a/ and /b/, both empty."""
    with LocalServer() as server:
        for module in MODULES:
            monkeypatch.setattr(module, "MIRRORS", [f"{server.url}/a/", f"{server.url}/b/"])
        yield server


def pinned(name, data):
    return File(name, len(data), hashlib.sha256(data).hexdigest())


def saved(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


# ---- fashion_mnist ----


def idx(array):
    header = struct.pack(f">HBB{array.ndim}i", 0, 8, array.ndim, *array.shape)
    return gzip.compress(header + array.tobytes())


@pytest.fixture
def clothes(place, monkeypatch):
    """A small set: {file name: bytes}, pinned."""
    rng = np.random.default_rng(1)
    arrays = [rng.integers(0, 256, (6, 28, 28), np.uint8), rng.integers(0, 10, 6, np.uint8)] * 2
    files = {f.name: idx(a) for f, a in zip(fashion_mnist.FILES, arrays)}
    monkeypatch.setattr(fashion_mnist, "FILES", tuple(pinned(name, data) for name, data in files.items()))
    return arrays, files


@pytest.mark.parametrize("where", ["NNFAST_DATA", "cache", "here", "torchvision"])
def test_fashion_mnist_is_found(place, clothes, monkeypatch, where):
    arrays, files = clothes
    folder = {
        "NNFAST_DATA": place / "data" / "fashion_mnist",
        "cache": place / "home" / "datasets" / "fashion-mnist",
        "here": place / "here",
        "torchvision": place / "here" / "data" / "FashionMNIST" / "raw",
    }[where]
    if where == "NNFAST_DATA":
        monkeypatch.setenv("NNFAST_DATA", str(place / "data"))
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    (x_train, y_train), (x_test, y_test) = fashion_mnist.load_data()
    for got, expected in zip((x_train, y_train, x_test, y_test), arrays):
        assert got.dtype == np.uint8
        np.testing.assert_array_equal(got, expected)


def test_fashion_mnist_is_downloaded_once(place, clothes, server):
    _, files = clothes
    for name, data in files.items():
        server.answers[f"/b/{name}"] = content(data)
    first = "train-images-idx3-ubyte.gz"
    server.answers[f"/a/{first}"] = content(files[first][:-9] + bytes(9))  # the right size, another hash
    fashion_mnist.load_data()
    assert server.requests[:2] == [f"/a/{first}", f"/b/{first}"] and len(server.requests) == 8
    fashion_mnist.load_data()
    assert len(server.requests) == 8
    folder = place / "home" / "datasets" / "fashion-mnist"
    assert sorted(p.name for p in folder.iterdir()) == sorted(files)


def test_mnist_is_not_taken_for_fashion_mnist(place, clothes, monkeypatch):
    monkeypatch.setenv("NNFAST_DATA", str(place))
    (place / "train-images-idx3-ubyte.gz").write_bytes(idx(np.zeros((6, 28, 28), np.uint8)))
    with pytest.raises(FileNotFoundError, match=r"train-images.*does not have the hash"):
        fashion_mnist.load_data()


@pytest.mark.parametrize("load", [m.load_data for m in MODULES] + [imdb.get_word_index])
def test_offline(place, server, load):
    """It is nowhere: the message lists the places and the mirrors."""
    with pytest.raises(FileNotFoundError) as caught:
        load()
    message = str(caught.value)
    for word in ("NNFAST_DATA: not set", "home", "here", "/a/", "/b/", "404"):
        assert word in message
    assert not list(place.rglob("*.part"))


@pytest.mark.parametrize("path", ["no/such.npz", "./imdb.npz"])
def test_a_precise_path_is_not_replaced(place, server, path):
    for load in (imdb.load_data, imdb.get_word_index, lambda p: california_housing.load_data(path=p)):
        with pytest.raises(FileNotFoundError, match="no such file"):
            load(path)
    assert not server.requests


# ---- cifar10 ----


def archive(parts, label=None):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in parts.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


@pytest.fixture
def pictures(place, monkeypatch):
    monkeypatch.setattr(cifar10, "ROWS", 3)
    rng = np.random.default_rng(2)
    x, y = rng.integers(0, 256, (18, 3, 32, 32), np.uint8), rng.integers(0, 10, (18, 1), np.uint8)
    rows = np.concatenate([y, x.reshape(18, -1)], axis=1)
    return x, y, {name: rows[i * 3 : i * 3 + 3].tobytes() for i, name in enumerate(cifar10.PARTS)}


def test_cifar10(place, pictures, server, monkeypatch):
    x, y, parts = pictures
    data = archive(parts | {"cifar-10-batches-bin/readme.html": b"hello"})
    monkeypatch.setattr(cifar10, "FILE", pinned("cifar-10-binary.tar.gz", data))
    server.answers["/a/cifar-10-binary.tar.gz"] = content(data)
    for _ in range(2):
        (x_train, y_train), (x_test, y_test) = cifar10.load_data()
    assert len(server.requests) == 1
    np.testing.assert_array_equal(np.concatenate([x_train, x_test]), x.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(np.concatenate([y_train, y_test]), y)
    assert x_train.shape == (15, 32, 32, 3) and x_train.flags.c_contiguous and y_test.shape == (3, 1)
    nnfast.config.set_image_data_format("channels_first")
    np.testing.assert_array_equal(cifar10.load_data()[0][0], x[:15])


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda p: dict(list(p.items())[:5]), "lacks .*test_batch"),
        (lambda p: p | {cifar10.PARTS[2]: p[cifar10.PARTS[2]][:-1]}, "truncated"),
        (lambda p: p | {cifar10.PARTS[0]: b"\x0b" + p[cifar10.PARTS[0]][1:]}, "label 0 is 11"),
    ],
)
def test_a_damaged_cifar10(place, pictures, monkeypatch, change, message):
    data = archive(change(pictures[2]))
    monkeypatch.setattr(cifar10, "FILE", pinned("cifar-10-binary.tar.gz", data))
    (place / "here" / "cifar-10-binary.tar.gz").write_bytes(data)
    with pytest.raises(ValueError, match=rf"\[cifar10.load_data\].*{message}"):
        cifar10.load_data()


# ---- imdb ----


def objects(rows):
    array = np.empty(len(rows), object)
    array[:] = rows
    return array


@pytest.fixture
def reviews(place, monkeypatch):
    rng = np.random.default_rng(3)
    lists = [[rng.integers(1, 40, rng.integers(3, 12)).tolist() for _ in range(20)] for _ in range(2)]
    labels = [rng.integers(0, 2, 20) for _ in range(2)]
    data = saved(x_train=objects(lists[0]), y_train=labels[0], x_test=objects(lists[1]), y_test=labels[1])
    monkeypatch.setattr(imdb, "FILE", pinned("imdb.npz", data))
    path = place / "home" / "datasets" / "imdb.npz"
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    return lists, labels


def test_imdb(reviews):
    lists, labels = reviews
    (x_train, y_train), (x_test, y_test) = imdb.load_data()
    assert x_train.dtype == object and isinstance(x_train[0], list)
    order = np.arange(20)
    generator = np.random.RandomState(113)
    for x, y, part in ((x_train, y_train, 0), (x_test, y_test, 1)):
        order = np.arange(20)
        generator.shuffle(order)
        limit = max(w + 3 for rows in lists for r in rows for w in r)
        expected = [[1] + [w + 3 if w + 3 < limit else 2 for w in lists[part][i]] for i in order]
        assert x.tolist() == expected
        np.testing.assert_array_equal(y, labels[part][order])


def test_imdb_options(reviews):
    (x, y), _ = imdb.load_data(num_words=20, skip_top=5, oov_char=None, start_char=None, index_from=0)
    assert {w for r in x for w in r} <= set(range(5, 20))
    (x, y), _ = imdb.load_data(maxlen=8)
    assert 0 < len(x) == len(y) < 20 and max(map(len, x)) < 8
    assert nnfast.utils.pad_sequences(x, 10).shape == (len(x), 10)
    with pytest.raises(ValueError, match="maxlen=2"):
        imdb.load_data(maxlen=2)


@pytest.mark.peers
def test_imdb_like_keras(reviews, place, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    theirs = pytest.importorskip("keras.src.datasets.imdb")
    monkeypatch.setattr(theirs, "get_file", lambda **_: str(place / "home" / "datasets" / "imdb.npz"))
    for options in ({}, {"num_words": 15}, {"skip_top": 3, "oov_char": None, "maxlen": 9}, {"start_char": None}):
        for mine, other in zip(imdb.load_data(**options), theirs.load_data(**options)):
            assert mine[0].tolist() == other[0].tolist()
            np.testing.assert_array_equal(mine[1], other[1])


class Harmful:
    def __reduce__(self):
        return (os.mkdir, ("unpickled",))


@pytest.mark.parametrize("listed", [True, False])
def test_imdb_runs_nothing(place, monkeypatch, listed):
    """Not a file with another hash; and if the hash were right, no name beyond those of arrays of lists."""
    data = saved(x_train=objects([[1], Harmful()]), y_train=np.zeros(2), x_test=objects([[1]]), y_test=np.zeros(1))
    (place / "here" / "own.npz").write_bytes(data)
    if listed:
        monkeypatch.setattr(imdb, "FILE", pinned("imdb.npz", data))
        with pytest.raises(Exception, match=r"mkdir, which is no list"):
            imdb.load_data("own.npz")
    else:
        with pytest.raises(ValueError, match="does not have the hash"):
            imdb.load_data("own.npz")
    assert not list(place.rglob("unpickled"))


def test_word_index(place, server, monkeypatch):
    data = json.dumps({"the": 1, "and": 2}).encode()
    monkeypatch.setattr(imdb, "INDEX", File("imdb_word_index.json", len(data), hashlib.md5(data).hexdigest()))
    server.answers["/a/imdb_word_index.json"] = status(500)
    server.answers["/b/imdb_word_index.json"] = content(data)
    assert imdb.get_word_index() == imdb.get_word_index() == {"the": 1, "and": 2}
    assert len(server.requests) == 2


# ---- california_housing ----


@pytest.fixture
def houses(place, monkeypatch):
    rng = np.random.default_rng(4)
    arrays = {"x": rng.normal(size=(700, 8)).astype("float32"), "y": rng.normal(size=700).astype("float32")}
    data = saved(**arrays)
    monkeypatch.setattr(california_housing, "FILE", pinned("california_housing.npz", data))
    return arrays, data


def test_california_housing(place, houses, server):
    arrays, data = houses
    server.answers["/a/california_housing.npz"] = content(data)
    (x_train, y_train), (x_test, y_test) = california_housing.load_data()
    assert x_train.shape == (560, 8) and y_test.shape == (140,) and server.requests == ["/a/california_housing.npz"]
    order = np.arange(700)
    np.random.RandomState(113).shuffle(order)
    np.testing.assert_array_equal(np.concatenate([x_train, x_test]), arrays["x"][order])
    np.testing.assert_array_equal(np.concatenate([y_train, y_test]), arrays["y"][order])
    (small, _), (rest, _) = california_housing.load_data("small", test_split=0.5)
    assert len(small) == len(rest) == 300
    (place / "here" / "mine.npz").write_bytes(saved(x=arrays["x"][:10], y=arrays["y"][:10]))
    assert california_housing.load_data(path="mine.npz")[0][0].shape == (8, 8)


@pytest.mark.peers
def test_california_housing_like_keras(houses, place, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    theirs = pytest.importorskip("keras.src.datasets.california_housing")
    path = place / "here" / "california_housing.npz"
    path.write_bytes(houses[1])
    monkeypatch.setattr(theirs, "get_file", lambda *_, **__: str(path))
    for options in ({}, {"version": "small", "test_split": 0.3, "seed": 7}, {"test_split": 0.0}):
        for mine, other in zip(california_housing.load_data(**options), theirs.load_data(**options)):
            for a, b in zip(mine, other):
                np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"test_split": 1.0}, ["test_split", "1.0"]),
        ({"version": "tiny"}, ["version", "'tiny'"]),
        ({"path": "wrong.npz"}, ["(3, 8)", "(2,)"]),
        ({"path": "pickle.npz"}, ["never unpickled"]),
    ],
)
def test_california_housing_messages(place, options, words):
    (place / "here" / "wrong.npz").write_bytes(saved(x=np.zeros((3, 8)), y=np.zeros(2)))
    (place / "here" / "pickle.npz").write_bytes(saved(x=objects([[1]]), y=np.zeros(2)))
    with pytest.raises(ValueError) as caught:
        california_housing.load_data(**options)
    assert all(word in str(caught.value) for word in words)


def test_pins_are_the_published_ones():
    """The hashes that Keras has in its source, and those of the data sets' own pages."""
    assert imdb.FILE.hash.startswith("69664113be75683a") and california_housing.FILE.hash.startswith("1a2e3a52e0398de6")
    assert [len(f.hash) for f in (*fashion_mnist.FILES, cifar10.FILE, imdb.FILE, california_housing.FILE)] == [64] * 7
    assert len(fashion_mnist.CLASSES) == len(cifar10.CLASSES) == 10


@pytest.mark.peers
def test_pins_are_those_of_keras():
    import inspect

    os.environ.setdefault("KERAS_BACKEND", "torch")
    for module, files in ((imdb, (imdb.FILE, imdb.INDEX)), (california_housing, (california_housing.FILE,))):
        theirs = pytest.importorskip(f"keras.src.datasets.{module.__name__.rpartition('.')[2]}")
        assert all(file.hash in inspect.getsource(theirs) for file in files)
