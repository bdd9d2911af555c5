"""The same values in memory laid out in every way that NumPy allows."""

import numpy as np


def transposed(a):
    """Fortran order."""
    return np.asfortranarray(a)


def stepped(a):
    """Every second element of a larger array, along every axis."""
    big = np.zeros([2 * n for n in a.shape], a.dtype)
    view = big[tuple(slice(None, 2 * n, 2) for n in a.shape)]
    view[...] = a
    return view


def reversed_axes(a):
    """Negative strides along every axis."""
    every = tuple(slice(None, None, -1) for _ in a.shape)
    return np.ascontiguousarray(a[every])[every]


def misaligned(a):
    """Data that begins one byte off."""
    raw = np.zeros(a.nbytes + a.itemsize + 1, np.uint8)
    view = raw[1 : 1 + a.nbytes].view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


def offset(a):
    """Aligned to its elements, but to no vector: begins one element off."""
    raw = np.zeros(a.size + 1, a.dtype)
    view = raw[1:].reshape(a.shape)
    view[...] = a
    return view


def read_only(a):
    b = a.copy()
    b.flags.writeable = False
    return b


def plain(a):
    return np.ascontiguousarray(a)


LAYOUTS = [plain, transposed, stepped, reversed_axes, misaligned, offset, read_only]
