"""Make python/nnfast/datasets/digits.npz from the four IDX files of MNIST (http://yann.lecun.com/exdb/mnist/).

    PYTHONPATH=python python tools/make_digits.py FOLDER [--check]

FOLDER holds the IDX files, plain or .gz. The same input and the same zlib give the same bytes; `--check` writes
nothing and compares what the packaged file decodes to, whatever zlib wrote it.
"""

from __future__ import annotations

import argparse
import io
import sys
import zipfile
from pathlib import Path

import numpy as np

from nnfast.datasets import digits
from nnfast.datasets._idx import find_idx, read_idx


def subset(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images [7000, 28, 28] and labels [7000]: the first 6,000 for training, then the first 1,000 for testing."""
    files = find_idx(folder)
    images, labels = (
        np.concatenate(
            [read_idx(files[f"{split}-{kind}"])[:count] for split, count in (("train", 6000), ("t10k", 1000))]
        )
        for kind in ("images", "labels")
    )
    return images, labels


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """An .npz whose bytes depend on nothing but the arrays: fixed date, fixed system, strongest deflate."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, array, version=(1, 0), allow_pickle=False)
            info = zipfile.ZipInfo(name + ".npy", date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type, info.create_system = zipfile.ZIP_DEFLATED, 3
            archive.writestr(info, member.getvalue(), compresslevel=9)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the IDX files are")
    parser.add_argument("--check", action="store_true", help="write nothing; compare with the packaged file")
    arguments = parser.parse_args()
    images, labels = subset(arguments.folder)
    target = Path(digits.__file__).with_name("digits.npz")
    if not arguments.check:
        inked, levels = digits.pack(images)
        write_npz(target, {"inked": inked, "levels": levels, "labels": labels})
    (x_train, y_train), (x_test, y_test) = digits.load_data()
    same = np.array_equal(np.concatenate([x_train, x_test]), images)
    same = same and np.array_equal(np.concatenate([y_train, y_test]), labels)
    print(f"{target.name}: {target.stat().st_size} bytes, {'equal to' if same else 'DIFFERENT FROM'} the IDX files")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
