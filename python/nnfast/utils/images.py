"""Pictures from files to arrays and back. Needs Pillow, which is imported when the first picture is."""

import io
import os
import warnings
from typing import Any

import numpy as np

from nnfast import config

_METHODS = ("nearest", "bilinear", "bicubic", "hamming", "box", "lanczos")


def _pillow(name: str) -> Any:
    try:
        from PIL import Image
    except ImportError as e:
        raise ImportError(f"[{name}] Pillow is not installed. Run: pip install 'nnfast[image]'") from e
    return Image


def load_img(
    path: Any,
    color_mode: str = "rgb",
    target_size: tuple[int, int] | None = None,
    interpolation: str = "nearest",
    keep_aspect_ratio: bool = False,
) -> Any:
    """A picture from a file, as Pillow has it.

    Args:
        path: a file name or an io.BytesIO.
        color_mode: "rgb", "rgba" or "grayscale".
        target_size: (height, width) that it is resized to.
        interpolation: "nearest", "bilinear", "bicubic", "hamming", "box" or "lanczos".
        keep_aspect_ratio: cut the middle out first, so that nothing is stretched?
    """
    image = _pillow("load_img")
    modes = {"rgb": ("RGB",), "rgba": ("RGBA",), "grayscale": ("L", "I;16", "I")}
    if color_mode not in modes:
        raise ValueError(f"[load_img] color_mode must be rgb, rgba or grayscale. Received: color_mode={color_mode!r}")
    if interpolation not in _METHODS:
        raise ValueError(f"[load_img] interpolation must be one of {', '.join(_METHODS)}. Received: {interpolation!r}")
    if isinstance(path, io.BytesIO):
        picture = image.open(path)
    else:
        with open(os.fspath(path), "rb") as file:
            picture = image.open(io.BytesIO(file.read()))
    if picture.mode not in modes[color_mode]:
        picture = picture.convert(modes[color_mode][0])
    if target_size is None or picture.size == (target_size[1], target_size[0]):
        return picture
    height, width = target_size
    box = None
    if keep_aspect_ratio:
        crop_height = min(picture.height, picture.width * height // width)
        crop_width = min(picture.width, picture.height * width // height)
        top, left = (picture.height - crop_height) // 2, (picture.width - crop_width) // 2
        box = (left, top, left + crop_width, top + crop_height)
    return picture.resize((width, height), getattr(image.Resampling, interpolation.upper()), box=box)


def img_to_array(img: Any, data_format: str | None = None, dtype: Any = None) -> np.ndarray:
    """A picture as an array (height, width, channels), or (channels, height, width) where data_format says so.

    >>> img_to_array(np.zeros((2, 3), "uint8")).shape
    (2, 3, 1)
    """
    data_format = config.standardize_data_format("img_to_array", data_format)
    x = np.asarray(img, dtype or config.floatx())
    if x.ndim not in (2, 3):
        raise ValueError(f"[img_to_array] a picture has 2 or 3 dimensions. Received: shape {x.shape}")
    if x.ndim == 2:
        x = x[..., None]
    return x.transpose(2, 0, 1) if data_format == "channels_first" else x


def array_to_img(x: Any, data_format: str | None = None, scale: bool = True, dtype: Any = None) -> Any:
    """An array (height, width, channels) with 1, 3 or 4 channels as a picture of Pillow.

    Args:
        x: the array.
        data_format: "channels_last" or "channels_first"; default: `nnfast.config.image_data_format()`.
        scale: stretch the values to 0 ... 255?
        dtype: in which that is computed; default `nnfast.config.floatx()`.
    """
    image = _pillow("array_to_img")
    data_format = config.standardize_data_format("array_to_img", data_format)
    x = np.array(x, dtype or config.floatx())
    if x.ndim != 3:
        raise ValueError(f"[array_to_img] a picture has 3 dimensions. Received: shape {x.shape}")
    if data_format == "channels_first":
        x = x.transpose(1, 2, 0)
    if x.shape[2] not in (1, 3, 4):
        raise ValueError(f"[array_to_img] a picture has 1, 3 or 4 channels. Received: {x.shape[2]}")
    if scale and x.size:
        x = x - x.min()
        x = x * (255 / (x.max() or 1))
    if x.shape[2] == 1 and x.size and x.max() > 255:
        return image.fromarray(x[:, :, 0].astype("int32"))
    return image.fromarray((x[:, :, 0] if x.shape[2] == 1 else x).astype("uint8"))


def save_img(
    path: Any, x: Any, data_format: str | None = None, file_format: str | None = None, scale: bool = True, **kwargs: Any
) -> None:
    """Writes an array as a picture.

    Args:
        path: a file name, or an open file.
        x, data_format, scale: see `array_to_img`.
        file_format: "png", "jpeg", ...; default: the name's ending.
        **kwargs: passed on to Pillow.
    """
    picture = array_to_img(x, data_format, scale)
    if file_format is None and isinstance(path, (str, os.PathLike)):
        file_format = os.path.splitext(os.fspath(path))[1][1:]
    file_format = {"jpg": "jpeg"}.get((file_format or "").lower(), (file_format or "").lower()) or None
    if picture.mode == "RGBA" and file_format == "jpeg":
        warnings.warn("[save_img] JPEG has no transparency: it is left out", UserWarning, stacklevel=2)
        picture = picture.convert("RGB")
    picture.save(path, format=file_format, **kwargs)
