"""Raw inputs as tensors, decoded, scaled or transformed on access."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from repair_pipeline.errors import InputError

log = logging.getLogger(__name__)

_DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I")
_GREY = ("L", "1", "F", *_DEEP)
_EXACT = 2**24
"""Largest bound up to which float32 represents every integer."""


def image(row: Any, where: str, at: int) -> Image.Image:
    """Open the image of a row.

    Args:
        row: an image, or its encoded bytes.
        where: ``training`` or ``test``, for error messages.
        at: the row number, for error messages.

    Raises:
        InputError: the bytes are not an image.
    """
    if isinstance(row, Image.Image):
        return row
    try:
        return Image.open(io.BytesIO(row))
    except (UnidentifiedImageError, OSError, TypeError, Image.DecompressionBombError) as error:
        size = 0 if row is None else len(row)
        raise InputError(f"{where} row {at} has {size} bytes that are not an image: fix or drop the row") from error


def size(shape: torch.Size) -> str:
    """The shape of one row for a message, such as ``3×4×5``."""
    return "×".join(map(str, shape[1:]))


class Scale:
    """Scales images without a transform to [0, 1]: decides between grey and colour, and which value is white.

    Args:
        rows: the images. All modes are read, and the pixels of images deeper than 8 bits.
        where: ``training`` or ``test``, for messages.
        white: the white value of images deeper than 8 bits, if already decided on other rows.

    Raises:
        InputError: a row is not an image, or the bit depth cannot be determined.
    """

    def __init__(self, rows: Sequence[Any], where: str, white: int | None = None) -> None:
        modes, brightest = set[str](), 0
        for at, row in enumerate(rows):
            picture = image(row, where, at)
            modes.add(picture.mode)
            if picture.mode in _DEEP and white is None:
                low, high = _extrema(picture, where, at)
                if low < 0:
                    raise InputError(
                        f"{where} row {at} is an image of mode {picture.mode} with values below 0: "
                        "set dataset.transform to scale it"
                    )
                brightest = max(brightest, high)
        self.grey = modes <= set(_GREY)
        self.white = white or (255 if brightest <= 255 else 65535)
        if 255 < brightest <= 4095 or brightest > 65535:
            depth = "like 12 bits stored in 16" if brightest <= 4095 else "more than 16 bits"
            raise InputError(
                f"{where} images of mode {', '.join(sorted(modes & set(_DEEP)))} have values up to {brightest}, "
                f"{depth}: set dataset.transform to scale them to [0, 1]"
            )
        if translucent := modes & {"RGBA", "LA", "PA", "La", "RGBa"}:
            log.warning(
                "%s images of mode %s: transparency, if any, is ignored",
                where,
                ", ".join(sorted(translucent)),
            )

    def __call__(self, picture: Image.Image, where: str, at: int) -> NDArray[np.float32]:
        """An image as (channels, height, width) in [0, 1].

        Raises:
            InputError: a value lies outside [0, 1] after scaling, or only the alpha channel has content.
        """
        if picture.mode in _DEEP or picture.mode == "F":
            pixels = np.asarray(picture, dtype=np.float32) / np.float32(1 if picture.mode == "F" else self.white)
            if pixels.min() < 0 or pixels.max() > 1:
                raise InputError(
                    f"{where} row {at} is an image of mode {picture.mode} with values from {pixels.min():g} to "
                    f"{pixels.max():g}, outside [0, 1]: set dataset.transform to scale it"
                )
            return pixels[None] if self.grey else np.repeat(pixels[None], 3, axis=0)
        _require_opaque(picture, where, at)
        pixels = np.asarray(picture.convert("L" if self.grey else "RGB"), dtype=np.float32) / np.float32(255)
        return pixels[None] if self.grey else pixels.transpose(2, 0, 1)


def _extrema(picture: Image.Image, where: str, at: int) -> tuple[int, int]:
    try:
        pixels = np.asarray(picture)  # Pillow's own extrema of 16 bits differ between versions
    except OSError as error:
        raise _undecodable(where, at, error) from error
    return int(pixels.min()), int(pixels.max())


def _undecodable(where: str, at: int, error: OSError) -> InputError:
    """The error for an image that can be opened but not decoded, such as a truncated one."""
    why = " ".join(str(error).split())
    return InputError(f"{where} row {at} has an image that cannot be decoded ({why}): fix or drop the row")


def _require_opaque(picture: Image.Image, where: str, at: int) -> None:
    """Refuse an image drawn only in its alpha channel, which would be a uniform area without it."""
    bands = picture.getextrema()
    if picture.mode not in ("RGBA", "LA") or not isinstance(bands[0], tuple):
        return
    *colours, (least, most) = bands
    if least < most and all(low == high for low, high in colours):
        raise InputError(
            f"{where} row {at} is an image of mode {picture.mode} drawn only in its transparency: "
            "set dataset.transform to put it on a background"
        )


class Prepared:
    """Raw inputs as float32 tensors, prepared on access (an ``Inputs``).

    Args:
        rows: encoded or PIL images, or feature vectors.
        transform: the user's function of one row.
        where: ``training`` or ``test``, for messages.
        scale: scales images without a transform; None for feature vectors or with a transform.

    Raises:
        InputError: a row cannot be prepared, or its shape differs from the first row's.
    """

    def __init__(
        self,
        rows: Sequence[Any] | NDArray[np.float64],
        transform: Callable[[Any], Any] | None,
        where: str,
        scale: Scale | None,
    ) -> None:
        self._rows, self._where, self._scale = rows, where, scale
        self._transform = transform
        self._images = not isinstance(rows, np.ndarray)
        self.shape = torch.Size([len(rows), *self._prepared(0).shape])

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: Tensor) -> Tensor:
        batch = torch.empty((len(rows), *self.shape[1:]))
        for place, at in enumerate(rows.tolist()):
            tensor = self._prepared(at)
            if tensor.shape != self.shape[1:]:
                shape = "×".join(map(str, tensor.shape))
                raise InputError(
                    f"images of mixed size: {self._where} row {at} is {shape}, the first is {size(self.shape)}: "
                    "set dataset.transform to resize them"
                )
            batch[place] = tensor
        return batch

    def _prepared(self, at: int) -> Tensor:
        raw = self._rows[at]
        if self._images:
            raw = image(raw, self._where, at)
        if self._scale is not None:
            try:
                return torch.from_numpy(self._scale(raw, self._where, at))
            except OSError as error:
                raise _undecodable(self._where, at, error) from error
        return self._transformed(raw, at) if self._transform else torch.as_tensor(raw).float()

    def _transformed(self, raw: Any, at: int) -> Tensor:
        assert self._transform is not None
        try:
            value = self._transform(raw)
            tensor = torch.as_tensor(value if isinstance(value, Tensor) else np.asarray(value))
        except Exception as error:
            why = " ".join(f"{type(error).__name__}: {error}".split())
            raise InputError(f"dataset.transform fails on {self._where} row {at} ({why}): fix it") from error
        if tensor.dtype in (torch.int32, torch.int64) and bool((tensor.abs() > _EXACT).any()):
            raise InputError(
                f"dataset.transform returns {int(tensor.abs().max())} on {self._where} row {at}, but inputs are "
                f"float32, which is exact for integers up to {_EXACT}: return smaller integers"
            )
        return tensor.float()
