"""Raw inputs as tensors: decoded, scaled or transformed when they are asked for."""

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
"""Above it float32 does not hold every integer."""


def image(row: Any, where: str, at: int) -> Image.Image:
    """A row's image, opened.

    Raises:
        InputError: it is none.
    """
    if isinstance(row, Image.Image):
        return row
    try:
        return Image.open(io.BytesIO(row))
    except (UnidentifiedImageError, OSError, TypeError, Image.DecompressionBombError) as error:
        size = 0 if row is None else len(row)
        raise InputError(f"{where} row {at} holds {size} bytes that are no image: mend or drop the row") from error


def size(shape: torch.Size) -> str:
    """The shape of one row, as a message says it."""
    return "×".join(map(str, shape[1:]))


class Scale:
    """How images without a transform become numbers in [0, 1]: grey or in colour, and which value is white.

    Args:
        rows: the images. The mode of each is looked at, and the pixels of those deeper than 8 bits.
        where: what the rows are, for messages.
        white: the value that is white in deep images, where other rows have decided it.

    Raises:
        InputError: a row is no image, or how deep the images are cannot be told.
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
                        "give dataset.transform that scales it"
                    )
                brightest = max(brightest, high)
        self.grey = modes <= set(_GREY)
        self.white = white or (255 if brightest <= 255 else 65535)
        if 255 < brightest <= 4095 or brightest > 65535:
            depth = "as of 12 bits in 16" if brightest <= 4095 else "more than 16 bits"
            raise InputError(
                f"{where} images of mode {', '.join(sorted(modes & set(_DEEP)))} reach {brightest}, {depth}: "
                "give dataset.transform that scales them to [0, 1]"
            )
        if translucent := modes & {"RGBA", "LA", "PA", "La", "RGBa"}:
            log.warning(
                "%s images of mode %s: transparency, where there is any, is left out",
                where,
                ", ".join(sorted(translucent)),
            )

    def __call__(self, picture: Image.Image, where: str, at: int) -> NDArray[np.float32]:
        """An image as (channels, height, width) in [0, 1].

        Raises:
            InputError: it would be clipped, or what it shows is in its transparency.
        """
        if picture.mode in _DEEP or picture.mode == "F":
            pixels = np.asarray(picture, dtype=np.float32) / np.float32(1 if picture.mode == "F" else self.white)
            if pixels.min() < 0 or pixels.max() > 1:
                raise InputError(
                    f"{where} row {at} is an image of mode {picture.mode} that reaches from {pixels.min():g} to "
                    f"{pixels.max():g} where [0, 1] is due: give dataset.transform that scales it"
                )
            return pixels[None] if self.grey else np.repeat(pixels[None], 3, axis=0)
        _require_opaque(picture, where, at)
        pixels = np.asarray(picture.convert("L" if self.grey else "RGB"), dtype=np.float32) / np.float32(255)
        return pixels[None] if self.grey else pixels.transpose(2, 0, 1)


def _extrema(picture: Image.Image, where: str, at: int) -> tuple[int, int]:
    try:
        pixels = np.asarray(picture)  # Pillow's own extrema of 16 bits differ between versions
    except OSError as error:
        raise _cut_off(where, at, error) from error
    return int(pixels.min()), int(pixels.max())


def _cut_off(where: str, at: int, error: OSError) -> InputError:
    """What to say of an image that opened well, and is cut off further on."""
    why = " ".join(str(error).split())
    return InputError(f"{where} row {at} holds an image that cannot be decoded ({why}): mend or drop the row")


def _require_opaque(picture: Image.Image, where: str, at: int) -> None:
    """Refuse a picture that is drawn in its transparency alone, which would be a plain field without it."""
    bands = picture.getextrema()
    if picture.mode not in ("RGBA", "LA") or not isinstance(bands[0], tuple):
        return
    *colours, (least, most) = bands
    if least < most and all(low == high for low, high in colours):
        raise InputError(
            f"{where} row {at} is an image of mode {picture.mode} that is drawn in its transparency: "
            "give dataset.transform that lays it over a background"
        )


class Prepared:
    """Raw inputs as float32 tensors, each made when it is asked for.

    Args:
        rows: encoded or PIL images, or vectors of features.
        transform: the owner's, of one row.
        where: what the rows are, for messages.
        scale: how images without a transform are scaled; None: vectors, or a transform.

    Raises:
        InputError: a row cannot be made, or is of another size than the first.
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
                    "give a transform that resizes"
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
                raise _cut_off(self._where, at, error) from error
        return self._transformed(raw, at) if self._transform else torch.as_tensor(raw).float()

    def _transformed(self, raw: Any, at: int) -> Tensor:
        assert self._transform is not None
        try:
            value = self._transform(raw)
            tensor = torch.as_tensor(value if isinstance(value, Tensor) else np.asarray(value))
        except Exception as error:
            why = " ".join(f"{type(error).__name__}: {error}".split())
            raise InputError(f"dataset.transform fails on {self._where} row {at} ({why}): mend it") from error
        if tensor.dtype in (torch.int32, torch.int64) and bool((tensor.abs() > _EXACT).any()):
            raise InputError(
                f"dataset.transform gives {int(tensor.abs().max())} on {self._where} row {at}, and inputs are float32, "
                f"which holds integers up to {_EXACT} exactly: give smaller ids"
            )
        return tensor.float()
