"""What is done to each sample, in torchvision's form: images come as uint8 arrays (H, W) or (H, W, C)."""

from collections.abc import Callable
from typing import Any

import numpy as np

from nnfast import ops
from nnfast.nn.tensor import torch_tensor
from nnfast.tensor import Tensor


class Compose:
    """One transform after the other.

    >>> import numpy as np
    >>> from nnfast.data import transforms
    >>> t = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))])
    >>> t(np.full((28, 28), 255, "uint8")).max().item()
    1.0
    """

    def __init__(self, transforms: list[Callable[[Any], Any]]):
        self.transforms = transforms

    def __call__(self, img: Any) -> Any:
        for t in self.transforms:
            img = t(img)
        return img

    def __repr__(self) -> str:
        return "Compose(\n" + "".join(f"    {t!r}\n" for t in self.transforms) + ")"


class _Transform:
    def __repr__(self) -> str:
        options = ", ".join(f"{k}={v}" for k, v in vars(self).items())
        return f"{type(self).__name__}({options})"


class ToTensor(_Transform):
    """(H, W) or (H, W, C) to a tensor (C, H, W); uint8 also from 0..255 to 0..1."""

    def __call__(self, pic: Any) -> Any:
        a = np.asarray(pic)
        if a.ndim not in (2, 3):
            raise ValueError(f"[ToTensor] takes an image (H, W) or (H, W, C). Received: shape {a.shape}")
        a = a[None] if a.ndim == 2 else a.transpose(2, 0, 1)
        return torch_tensor(ops.cast(a, "float32", scale=1 / 255) if a.dtype == np.uint8 else ops.contiguous(a))


class Normalize(_Transform):
    """(x - mean) / std for each channel of (..., C, H, W)."""

    def __init__(self, mean: Any, std: Any, inplace: bool = False):
        self.mean, self.std = mean, std
        if not all(s > 0 for s in np.ravel(std)):
            raise ValueError(f"[Normalize] std must be positive. Received: std={std}")

    def __call__(self, tensor: Any) -> Any:
        if not isinstance(tensor, Tensor):
            raise TypeError(f"[Normalize] takes a tensor. Received: {type(tensor).__name__}. Put ToTensor() before it")
        shape = (-1, 1, 1)
        mean, std = (np.asarray(v, tensor.data.dtype).reshape(shape) for v in (self.mean, self.std))
        if len(mean) not in (1, tensor.shape[-3]):
            raise ValueError(
                f"[Normalize] needs a mean for each channel. Received: {len(mean)}, image shape {tuple(tensor.shape)}"
            )
        return torch_tensor((tensor - mean) / std)


class Lambda(_Transform):
    """A function of one's own."""

    def __init__(self, lambd: Callable[[Any], Any]):
        self.lambd = lambd

    def __call__(self, img: Any) -> Any:
        return self.lambd(img)


def _columns(img: Any) -> int:
    """The axis of columns: the last of a tensor (C, H, W) or of (H, W), the middle one of an array (H, W, C)."""
    return 1 if not isinstance(img, Tensor) and np.ndim(img) == 3 else np.ndim(img) - 1


def _part(img: Any, axis: int, key: slice) -> Any:
    a = img if isinstance(img, Tensor) else np.asarray(img)
    return a[(slice(None),) * axis + (key,)]


class _RandomFlip(_Transform):
    axis = 0

    def __init__(self, p: float = 0.5):
        self.p = p

    def __call__(self, img: Any) -> Any:
        if ops.uniform(()).item() >= self.p:
            return img
        return _part(img, _columns(img) + self.axis, slice(None, None, -1))


class RandomHorizontalFlip(_RandomFlip):
    """Left and right exchanged with probability p."""


class RandomVerticalFlip(_RandomFlip):
    """Top and bottom exchanged with probability p."""

    axis = -1


class _Crop(_Transform):
    def __init__(self, size: Any, padding: int | None = None):
        self.size = tuple(size) if isinstance(size, (tuple, list)) else (size, size)
        self.padding = padding

    def _cut(self, img: Any, place: Callable[[int], int]) -> Any:
        for axis, size in zip((_columns(img) - 1, _columns(img)), self.size):
            room = np.shape(img)[axis] - size
            if room < 0:
                raise ValueError(
                    f"[{type(self).__name__}] the image is smaller than {self.size}. "
                    f"Received: shape {tuple(np.shape(img))}"
                )
            first = place(room)
            img = _part(img, axis, slice(first, first + size))
        return img


class CenterCrop(_Crop):
    """The middle of an image."""

    def __init__(self, size: Any):
        super().__init__(size)

    def __call__(self, img: Any) -> Any:
        return self._cut(img, lambda room: room // 2)


class RandomCrop(_Crop):
    """A part of an image at a random place, after `padding` zeros around it."""

    def __call__(self, img: Any) -> Any:
        if self.padding:
            a = img if isinstance(img, Tensor) else np.asarray(img)
            last = _columns(img)
            widths = [(self.padding, self.padding) if i in (last - 1, last) else (0, 0) for i in range(np.ndim(a))]
            padded = ops.pad(a, widths)
            img = torch_tensor(padded) if isinstance(img, Tensor) else padded.numpy().astype(a.dtype)
        return self._cut(img, lambda room: int(ops.uniform(()).item() * (room + 1)))
