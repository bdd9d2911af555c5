"""nnfast.utils: to_categorical, normalize, get_file."""

import contextlib
import gzip
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from local_server import LocalServer, chunked, content, endless, silent, status

from nnfast import config
from nnfast.utils import _download, files, get_file, normalize, to_categorical

BODY = os.urandom(100_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
MD5 = hashlib.md5(BODY).hexdigest()


@pytest.fixture
def server(monkeypatch, tmp_path):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "KERAS_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NNFAST_HOME", str(tmp_path / "home"))
    with LocalServer() as server:
        yield server


def everything_in(folder):
    """All files below a folder, temporary ones included, by their path from there."""
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


class TestToCategorical:
    def test_rows(self):
        got = to_categorical([3, 0, 1])
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, [[0, 0, 0, 1], [1, 0, 0, 0], [0, 1, 0, 0]])

    def test_takes_the_default_float_type(self):
        config.set_floatx("float64")
        assert to_categorical([1]).dtype == np.float64

    @pytest.mark.parametrize("dtype", ["u1", "i1", ">i2", "i4", "u8", "f4", ">f8", "bool"])
    def test_dtypes(self, dtype):
        np.testing.assert_array_equal(to_categorical(np.array([1, 0, 1], dtype), 3), np.eye(3)[[1, 0, 1]])

    @pytest.mark.parametrize(
        "shape, result",
        [((), (5,)), ((1,), (1, 5)), ((4, 1), (4, 5)), ((2, 3), (2, 3, 5)), ((2, 3, 1), (2, 3, 5)), ((1, 1), (1, 5))],
    )
    def test_shapes(self, shape, result):
        x = np.arange(np.prod(shape, dtype=int)).reshape(shape) % 5
        got = to_categorical(x, 5)
        assert got.shape == result
        np.testing.assert_array_equal(got.argmax(-1).reshape(shape), x)
        np.testing.assert_array_equal(got.sum(-1), np.ones(result[:-1]))

    def test_strided_and_read_only(self):
        x = np.arange(10, dtype=np.uint8)[::-2]
        x.flags.writeable = False
        np.testing.assert_array_equal(to_categorical(x), np.eye(10)[[9, 7, 5, 3, 1]])

    def test_empty_needs_num_classes(self):
        assert to_categorical([], 3).shape == (0, 3)
        assert to_categorical(np.zeros((0, 1), int), 3).shape == (0, 3)
        with pytest.raises(ValueError, match=r"must not be empty. Received: x.shape=\(0,\)"):
            to_categorical([])

    @pytest.mark.parametrize(
        "x, num_classes, message",
        [
            ([0, 1, -1, -2], None, r"lie in 0 to 2147483647. Received: x\[2\]=-1"),
            ([0, 9, 10, 11], 10, r"lie in 0 to 9. Received: x\[2\]=10"),
            ([[0, 1], [2, 1 << 40]], None, r"x\[1, 1\]=1099511627776"),
            (np.array([1, 2**64 - 1], np.uint64), 5, r"x\[1\]=18446744073709551615"),
            ([0, np.iinfo(np.int64).min], 5, r"x\[1\]=-9223372036854775808"),
            ([0.0, np.nan], 5, r"x\[1\]=nan"),
            ([0.0, np.inf], None, r"x\[1\]=inf"),
            ([0.0, 1.5], 5, r"whole number. Received: x\[1\]=1.5"),
            (-3, 5, r"x\[0\]=-3"),
            ([0], 0, "num_classes=0"),
            ([0], -4, "num_classes=-4"),
        ],
    )
    def test_bad_values_are_named(self, x, num_classes, message):
        with pytest.raises(ValueError, match=message):
            to_categorical(x, num_classes)

    @pytest.mark.parametrize("x", [["a"], [1j], [None], np.array(["2020-01-01"], "M8[D]")])
    def test_no_numbers(self, x):
        with pytest.raises(TypeError, match="dtype"):
            to_categorical(x)

    def test_num_classes_is_an_integer(self):
        with pytest.raises(TypeError):
            to_categorical([1], 3.0)


class TestNormalize:
    @pytest.mark.parametrize("axis", [0, 1, 2, -1, -3])
    @pytest.mark.parametrize("order", [1, 2, 3, np.inf])
    def test_norm_is_one(self, axis, order):
        x = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
        got = normalize(x, axis, order)
        assert got.dtype == np.float32 and got.shape == x.shape
        np.testing.assert_allclose(np.linalg.norm(got, order, axis), 1, rtol=4 * np.finfo(np.float32).eps)
        np.testing.assert_array_equal(np.sign(got), np.sign(x))

    def test_zero_integer_and_huge_rows(self):
        got = normalize([[3, 4], [0, 0]])
        assert got.dtype == np.float64
        np.testing.assert_array_equal(got, [[0.6, 0.8], [0, 0]])
        np.testing.assert_allclose(normalize(np.float32([3e30, 4e30])), [0.6, 0.8], rtol=2 * np.finfo(np.float32).eps)
        assert normalize(np.zeros((0, 3))).shape == (0, 3)

    def test_argument_is_untouched(self):
        x = np.array([3.0, 4.0])
        normalize(x)
        np.testing.assert_array_equal(x, [3, 4])

    def test_bad_arguments(self):
        with pytest.raises(IndexError):
            normalize([1.0, 2.0], axis=1)
        with pytest.raises(TypeError):
            normalize([[1.0, 2.0]], axis=(0, 1))
        with pytest.raises(TypeError, match="complex128"):
            normalize([1j])


class TestGetFile:
    def test_downloads_once(self, server, tmp_path):
        url = server.url + "/a%20b/data.bin?version=1"
        server.answers["/a%20b/data.bin?version=1"] = content(BODY)
        path = get_file(origin=url)
        assert path == str(tmp_path / "home" / "datasets" / "data.bin")
        assert Path(path).read_bytes() == BODY
        assert get_file(origin=url) == path
        assert get_file("data.bin", url, file_hash=SHA256.upper()) == path
        assert get_file("data.bin", url, md5_hash=MD5) == path
        assert len(server.requests) == 1
        get_file(origin=url, force_download=True)
        assert len(server.requests) == 2
        assert everything_in(tmp_path) == ["home/datasets/data.bin"]

    def test_folders(self, server, tmp_path, monkeypatch):
        server.answers["/x"] = content(b"x")
        get = lambda **k: get_file("x", server.url + "/x", **k)  # noqa: E731
        assert get(cache_subdir="models/big") == str(tmp_path / "home/models/big/x")
        assert get(cache_dir=tmp_path / "other") == str(tmp_path / "other/datasets/x")
        assert get(cache_subdir=str(tmp_path / "absolute")) == str(tmp_path / "absolute/x")
        monkeypatch.delenv("NNFAST_HOME")
        monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
        assert get() == str(tmp_path / "keras/datasets/x")
        monkeypatch.delenv("KERAS_HOME")
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("USERPROFILE", str(tmp_path))
        assert get() == str(tmp_path / ".keras/datasets/x")

    @pytest.mark.parametrize("algorithm", ["auto", "sha256", "md5"])
    def test_wrong_hash_leaves_the_old_file(self, server, tmp_path, algorithm):
        server.answers["/x"] = content(BODY)
        right = MD5 if algorithm == "md5" else SHA256
        path = get_file("x", server.url + "/x", file_hash=right, hash_algorithm=algorithm)
        server.answers["/x"] = content(BODY[:-1] + bytes([BODY[-1] ^ 1]))
        with pytest.raises(ValueError, match="does not have the hash"):
            get_file("x", server.url + "/x", file_hash=right, hash_algorithm=algorithm, force_download=True)
        assert Path(path).read_bytes() == BODY
        assert everything_in(tmp_path) == ["home/datasets/x"]

    def test_damaged_cache_is_replaced_with_a_warning(self, server):
        server.answers["/x"] = content(BODY)
        path = get_file("x", server.url + "/x")
        with open(path, "r+b") as file:
            file.truncate(99_999)
        with pytest.warns(UserWarning, match="downloaded again"):
            assert get_file("x", server.url + "/x", file_hash=SHA256) == path
        assert Path(path).read_bytes() == BODY

    @pytest.mark.parametrize(
        "answer, message",
        [
            (content(BODY, claimed=len(BODY) + 1), "cut off after 100000 of 100001 bytes"),
            (content(b"", claimed=5), "cut off after 0 of 5"),
            (chunked(BODY, BODY, finish=False), "IncompleteRead"),
            (status(404), "404"),
            (status(500), "500"),
            (status(206), "status 206"),
            (status(302, Location="file:///etc/passwd"), "file:///etc/passwd"),
            (status(302, Location="ftp://127.0.0.1/x"), "redirect to another scheme: ftp://127.0.0.1/x"),
            (status(302, Location="data:,x"), "not allowed"),
            (status(307, Location="/x"), "infinite loop"),
            (lambda handler: handler.wfile.write(b"nonsense\r\n\r\n"), "nonsense"),
            (lambda handler: None, "without response"),
        ],
    )
    def test_faults_leave_the_old_file(self, server, tmp_path, answer, message):
        server.answers["/x"] = content(b"old")
        path = get_file("x", server.url + "/x")
        server.answers["/x"] = answer
        with pytest.raises(OSError, match=message) as caught:
            get_file("x", server.url + "/x", force_download=True)
        assert server.url + "/x" in str(caught.value)
        assert Path(path).read_bytes() == b"old"
        assert everything_in(tmp_path) == ["home/datasets/x"]

    def test_redirect_within_http(self, server):
        server.answers["/x"] = status(301, Location="/y")
        server.answers["/y"] = status(307, Location=server.url + "/z")
        server.answers["/z"] = chunked(BODY[:500], BODY[500:])
        assert Path(get_file("x", server.url + "/x", file_hash=SHA256)).read_bytes() == BODY

    def test_redirect_from_https_to_http_is_refused(self):
        request = _download.urllib.request.Request("https://example.org/x")
        with pytest.raises(OSError, match="another scheme"):
            _download._GuardedRedirects().redirect_request(request, io.BytesIO(), 302, "", {}, "http://example.org/x")
        request = _download.urllib.request.Request("http://example.org/x")
        upgraded = _download._GuardedRedirects().redirect_request(
            request, io.BytesIO(), 302, "", {}, "https://example.org/x"
        )
        assert upgraded.full_url == "https://example.org/x"

    def test_impatience(self, server, tmp_path, monkeypatch):
        monkeypatch.setattr(_download, "TIMEOUT", 0.3)
        monkeypatch.setattr(_download, "PATIENCE", 0.3)
        server.answers["/silent"] = silent(5)
        server.answers["/trickle"] = endless(b"x", pause=0.02)
        for name, message in (("silent", "timed out"), ("trickle", "only .* bytes in")):
            start = time.monotonic()
            with pytest.raises(OSError, match=message):
                get_file(origin=f"{server.url}/{name}")
            assert time.monotonic() - start < 4
        assert everything_in(tmp_path) == []

    def test_too_much(self, server, tmp_path):
        server.answers["/x"] = endless(bytes(1 << 16))
        with pytest.raises(OSError, match="more than the expected 1000000 bytes"):
            files.fetch(server.url + "/x", str(tmp_path / "x"), max_bytes=1_000_000)
        assert everything_in(tmp_path) == []

    def test_no_server(self, server, tmp_path):
        server.server_close()
        with pytest.raises(OSError, match=r"the download failed: .*Received: origin='http://127.0.0.1"):
            get_file("x", server.url + "/x")

    @pytest.mark.parametrize(
        "origin", ["file:///etc/passwd", "ftp://h/x", "data:,x", "/etc/passwd", "x", "gopher://h/x"]
    )
    def test_other_schemes(self, server, origin):
        with pytest.raises(ValueError, match="only http and https"):
            get_file("x", origin)

    @pytest.mark.parametrize("fname", ["a/b", "/etc/x", "..", ".", "a\\b", "a\0b"])
    def test_bad_names(self, server, fname):
        with pytest.raises(ValueError, match="file name without a folder"):
            get_file(fname, server.url + "/x")
        assert server.requests == []

    @pytest.mark.parametrize(
        "arguments, message",
        [
            ({}, "origin.* is missing"),
            ({"origin": "http://127.0.0.1/"}, "fname must be a file name"),
            ({"origin": "http://127.0.0.1/x/.."}, "fname must be a file name"),
            ({"origin": "http://127.0.0.1/x", "file_hash": "abc"}, "file_hash must be"),
            ({"origin": "http://127.0.0.1/x", "file_hash": MD5, "hash_algorithm": "sha256"}, "file_hash must be"),
            ({"origin": "http://127.0.0.1/x", "file_hash": MD5, "hash_algorithm": "crc"}, "file_hash must be"),
            ({"origin": "http://127.0.0.1/x", "archive_format": "rar"}, "archive_format must be"),
        ],
    )
    def test_bad_arguments(self, server, arguments, message):
        with pytest.raises(ValueError, match=message):
            get_file(**arguments)

    def test_two_processes_at_once(self, server, tmp_path):
        server.answers["/x"] = content(BODY)
        code = f"from nnfast.utils import get_file; get_file('x', {server.url + '/x'!r}, file_hash={SHA256!r})"
        both = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
        assert [process.wait(60) for process in both] == [0, 0]
        assert everything_in(tmp_path) == ["home/datasets/x"]
        assert files.has_hash(tmp_path / "home/datasets/x", SHA256)


GOOD = {"top.txt": b"top", "folder/deep/data.bin": BODY, "empty": b""}


def tar_of(members, mode="w:gz"):
    """A tar archive of (TarInfo or name, content) pairs."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for info, data in members:
            info = tarfile.TarInfo(info) if isinstance(info, str) else info
            if info.isreg():
                info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def zip_of(members):
    """A zip archive of (ZipInfo or name, content) pairs."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for info, data in members:
            archive.writestr(info, data)
    return buffer.getvalue()


def tar_info(name, **attributes):
    info = tarfile.TarInfo(name)
    for key, value in attributes.items():
        setattr(info, key, value)
    return info


def zip_link(name):
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, 0o120777 << 16
    return info


def negative_tar():
    """A tar archive whose member has the size -512, as base 256."""
    data = bytearray(tar_of([("x", b"")], "w:"))
    data[124:136] = (-512).to_bytes(12, "big", signed=True)
    data[148:156] = b"        "
    data[148:156] = b"%06o\0 " % sum(data[:512])
    return bytes(data)


EVIL = {
    "tar_parent": tar_of([("ok", b"1"), ("../evil", b"2")]),
    "tar_inner_parent": tar_of([("ok/../../evil", b"2")]),
    "tar_absolute": tar_of([("/tmp/evil", b"2")]),
    "tar_backslash": tar_of([("..\\evil", b"2")]),
    "tar_drive": tar_of([("c:\\evil", b"2")]),
    "tar_symlink": tar_of([(tar_info("link", type=tarfile.SYMTYPE, linkname="/etc"), b""), ("link/evil", b"2")]),
    "tar_inner_symlink": tar_of([("ok", b"1"), (tar_info("link", type=tarfile.SYMTYPE, linkname="ok"), b"")]),
    "tar_hard_link": tar_of([(tar_info("link", type=tarfile.LNKTYPE, linkname="/etc/passwd"), b"")]),
    "tar_device": tar_of([(tar_info("dev", type=tarfile.CHRTYPE), b"")]),
    "tar_pipe": tar_of([(tar_info("pipe", type=tarfile.FIFOTYPE), b"")]),
    "tar_twice": tar_of([("x", b"1"), ("x", b"2")]),
    "tar_file_and_folder": tar_of([("x", b"1"), ("x/y", b"2")]),
    "tar_truncated": tar_of(GOOD.items())[:50_000],
    "tar_plain_truncated": tar_of(GOOD.items(), "w:")[:50_000],
    "tar_negative": negative_tar(),
    "zip_parent": zip_of([("ok", b"1"), ("../evil", b"2")]),
    "zip_absolute": zip_of([("/tmp/evil", b"2")]),
    "zip_symlink": zip_of([(zip_link("link"), b"/etc"), ("link/evil", b"2")]),
    "zip_damaged": zip_of(GOOD.items()).replace(BODY[50_000:50_004], b"\0\0\0\0"),
    "zip_truncated": zip_of(GOOD.items())[:50_000],
    "nothing": b"",
    "text": b"<html>not found</html>",
    "gzip_of_no_tar": gzip.compress(b"hello"),
}


class TestArchives:
    @pytest.mark.parametrize("kind", ["w:", "w:gz", "w:bz2", "w:xz", "zip"])
    def test_unpacks(self, server, tmp_path, kind):
        body = (
            zip_of(GOOD.items())
            if kind == "zip"
            else tar_of([(tar_info("./", type=tarfile.DIRTYPE), b""), *GOOD.items()], kind)
        )
        server.answers["/a.tar.gz"] = content(body)
        for _ in range(2):
            path = get_file("a.tar.gz", server.url + "/a.tar.gz", extract=True)
            assert path == str(tmp_path / "home/datasets/a_extracted")
            assert {name: (tmp_path / path / name).read_bytes() for name in everything_in(tmp_path / path)} == GOOD
        assert len(server.requests) == 1
        assert sorted(os.listdir(tmp_path / "home/datasets")) == ["a.tar.gz", "a_extracted"]

    def test_names(self, server, tmp_path):
        server.answers["/a.tgz"] = content(tar_of(GOOD.items()))
        folder = tmp_path / "home/datasets"
        assert get_file(origin=server.url + "/a.tgz", untar=True) == str(folder / "a.tgz")
        assert get_file("flowers", server.url + "/a.tgz", extract=True) == str(folder / "flowers")
        assert sorted(os.listdir(folder)) == ["a.tgz", "a.tgz_archive", "flowers", "flowers_archive"]

    def test_a_new_download_replaces_the_folder(self, server, tmp_path):
        server.answers["/a.zip"] = content(zip_of([("one", b"1")]))
        path = get_file("a.zip", server.url + "/a.zip", extract=True)
        server.answers["/a.zip"] = content(zip_of([("two", b"2")]))
        get_file("a.zip", server.url + "/a.zip", extract=True, force_download=True)
        assert os.listdir(path) == ["two"]
        shutil.rmtree(path)
        get_file("a.zip", server.url + "/a.zip", extract=True)
        assert os.listdir(path) == ["two"]
        assert len(server.requests) == 2

    @pytest.mark.parametrize("name", EVIL)
    def test_evil_is_refused_whole(self, server, tmp_path, name):
        server.answers["/a"] = content(zip_of([("old", b"1")]))
        path = get_file("a.x", server.url + "/a", extract=True)
        server.answers["/a"] = content(EVIL[name])
        with pytest.raises(ValueError, match="refused"):
            get_file("a.x", server.url + "/a", extract=True, force_download=True)
        assert os.listdir(path) == ["old"]
        assert everything_in(tmp_path) == ["home/datasets/a.x", "home/datasets/a_extracted/old"]

    def test_a_zip_file_at_the_end_of_a_tar(self, server, tmp_path):
        server.answers["/a"] = content(tar_of([("inner.zip", zip_of(GOOD.items()))], "w:"))
        assert os.listdir(get_file(origin=server.url + "/a", extract=True)) == ["inner.zip"]

    def test_two_processes_at_once(self, server, tmp_path):
        server.answers["/a"] = content(zip_of(GOOD.items()))
        code = f"from nnfast.utils import get_file; get_file('a', {server.url + '/a'!r}, extract=True)"
        both = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
        assert [process.wait(60) for process in both] == [0, 0]
        folder = tmp_path / "home/datasets"
        assert sorted(os.listdir(folder)) == ["a", "a_archive"]
        assert {name: (folder / "a" / name).read_bytes() for name in everything_in(folder / "a")} == GOOD

    @pytest.mark.parametrize("kind", ["tar", "zip"])
    def test_the_wrong_format(self, server, kind):
        server.answers["/a"] = content(zip_of(GOOD.items()) if kind == "tar" else tar_of(GOOD.items()))
        with pytest.raises(ValueError, match=f"no archive of the formats .'{kind}'"):
            get_file("a", server.url + "/a", extract=True, archive_format=kind)
        with pytest.raises(ValueError, match="no archive of the formats"):
            get_file("a", server.url + "/a", extract=True, archive_format=None)

    def test_more_than_the_disk_holds(self, server, tmp_path, monkeypatch):
        server.answers["/a"] = content(zip_of([("zeros", bytes(10_000_000))]))
        usage = shutil.disk_usage(tmp_path)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=9_999_999))
        with pytest.raises(ValueError, match="more than the disk has room for"):
            get_file("a", server.url + "/a", extract=True)
        assert everything_in(tmp_path) == []


class TestAtomicFile:
    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
    def test_an_interruption_leaves_the_old_file(self, tmp_path, error):
        path = tmp_path / "x"
        path.write_bytes(b"old")
        with pytest.raises(error), files.atomic_file(path) as file:
            file.write(b"new")
            raise error
        assert path.read_bytes() == b"old" and everything_in(tmp_path) == ["x"]
        with files.atomic_file(path) as file:
            file.write(b"new")
            assert path.read_bytes() == b"old"
        assert path.read_bytes() == b"new" and everything_in(tmp_path) == ["x"]

    @pytest.mark.skipif(os.name != "posix", reason="POSIX links and permissions")
    def test_links_and_permissions(self, tmp_path):
        (tmp_path / "link").symlink_to("target")
        old = os.umask(0o027)
        with contextlib.ExitStack() as stack:
            stack.callback(os.umask, old)
            stack.enter_context(files.atomic_file(tmp_path / "link")).write(b"new")
        assert (tmp_path / "link").is_symlink() and (tmp_path / "target").read_bytes() == b"new"
        assert (tmp_path / "target").stat().st_mode & 0o777 == 0o640
