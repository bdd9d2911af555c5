"""What the examples share: the options --quick and --out, the digits, and pictures that are saved and not shown."""

import argparse
import os
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")

import matplotlib.pyplot as plt

import nnfast

nnfast.utils.set_random_seed(0)
parser = argparse.ArgumentParser()
parser.add_argument("--quick", action="store_true", help="a few steps on little data")
parser.add_argument("--out", default="pictures", help="folder of the pictures (default: pictures)")
options = parser.parse_args()
quick = options.quick


def digits():
    """MNIST, or with --quick (and where there is no network) the 7,000 digits that come with nnfast."""
    if not quick:
        try:
            return nnfast.datasets.mnist.load_data()
        except FileNotFoundError:
            print("MNIST cannot be had here: 7,000 of its digits instead")
    return nnfast.datasets.digits.load_data()


def save(name, figure=None):
    """Saves a Figure, or else pyplot's current one, which it closes."""
    folder = Path(options.out)
    folder.mkdir(parents=True, exist_ok=True)
    if figure is None:
        plt.tight_layout()
        figure = plt.gcf()
    figure.savefig(folder / f"{name}.png", dpi=100)
    plt.close("all")
    print(f"picture: {folder / name}.png")
