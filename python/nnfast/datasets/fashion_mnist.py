"""Fashion-MNIST, 70,000 pictures of clothes by Han Xiao, Kashif Rasul and Roland Vollgraf (MIT licence)."""

from __future__ import annotations

import numpy as np

from nnfast.datasets._idx import read_idx
from nnfast.datasets._search import File, locate

__all__ = ["CLASSES", "load_data"]

CLASSES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
# Published with the MD5 sums in the data set's README; the SHA-256 are those of the same files.
FILES = (
    File("train-images-idx3-ubyte.gz", 26421880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
    File("train-labels-idx1-ubyte.gz", 29515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
    File("t10k-images-idx3-ubyte.gz", 4422102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
    File("t10k-labels-idx1-ubyte.gz", 5148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
)
MIRRORS = [
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    "https://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
]
SUBFOLDERS = ["fashion-mnist", "fashion_mnist", "FashionMNIST/raw"]

Split = tuple[np.ndarray, np.ndarray]


def load_data() -> tuple[Split, Split]:
    """Return Fashion-MNIST, from this machine if it is there, else from the network.

    The four .gz files are looked for in NNFAST_DATA, in the cache (``~/.keras/datasets/fashion-mnist``, where Keras
    keeps them, too), in the current folder and in ``data``, and there in ``FashionMNIST/raw``; then on mirrors. They
    are told from MNIST's, which have the same names, by their SHA-256.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: uint8 arrays of shapes (60000, 28, 28), (60000,), (10000, 28, 28) and
        (10000,). Labels 0 to 9 are `CLASSES`.

    Raises:
        FileNotFoundError: it is nowhere; the message lists where it was looked for.

    >>> (x_train, y_train), (x_test, y_test) = load_data()  # doctest: +SKIP
    """
    paths = [locate("fashion_mnist.load_data", file, "fashion-mnist", SUBFOLDERS, MIRRORS) for file in FILES]
    x_train, y_train, x_test, y_test = (read_idx(path) for path in paths)
    return (x_train, y_train), (x_test, y_test)
