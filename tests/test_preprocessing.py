"""Layers that prepare data."""

import numpy as np
from arrays import near

from nnfast import layers


def test_rescaling(device):
    image = np.array([[[[0, 255]]]], "uint8")
    near(layers.Rescaling(1 / 255)(image), np.array([[[[0, 1]]]], "float32"))
    near(layers.Rescaling(1 / 127.5, offset=-1)(image), np.array([[[[-1, 1]]]], "float32"))
    assert layers.Rescaling([1.0, 2.0], offset=[0.0, 1.0])(np.ones((1, 2))).tolist() == [[1, 3]]
