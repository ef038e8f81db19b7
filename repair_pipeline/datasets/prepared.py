"""Raw inputs as tensors, decoded, scaled or transformed on access."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image
from torch import Tensor

from repair_pipeline.errors import InputError, one_line
from repair_pipeline.named_tensors import Batch, NamedTensors
from repair_pipeline.types import Remark

_DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I")
_GREY = ("L", "1", "LA", "La", "F", *_DEEP)
_ALPHA = "with an alpha channel, which is dropped"
_UNSIGNED = {torch.uint16: torch.int32, torch.uint32: torch.int64, torch.uint64: torch.int64}
"""What torch can compute with in place of types that it can only store."""


class ImageFiles(Sequence[bytes]):
    """The contents of image files, read on access.

    Args:
        folder: their folder, which messages name them in.
        files: the files.
    """

    def __init__(self, folder: Path, files: Sequence[Path]) -> None:
        self._folder, self._files = folder, files

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, row: int) -> bytes:  # type: ignore[override]
        try:
            return self._files[row].read_bytes()
        except OSError as error:
            raise InputError(f"{self._files[row]} cannot be read ({error.strerror}): fix or remove the file") from error

    def name(self, row: int) -> str:
        """The file of a row, in its folder."""
        return self._files[row].relative_to(self._folder).as_posix()


def _place(rows: object, where: str, at: int) -> str:
    """A row for messages: ``training row 3``, and its file if it has one of its own."""
    return f"{where} row {at}" + (f" ({rows.name(at)})" if isinstance(rows, ImageFiles) else "")


def _opened(row: Any, place: str) -> Image.Image:
    """The image of a row: an image, or its encoded bytes."""
    if isinstance(row, Image.Image):
        return row
    if row is None:
        raise InputError(f"{place} has no image, but null: fix or drop the row")
    try:
        return Image.open(io.BytesIO(row))
    except Exception as error:  # a damaged file makes Pillow's readers raise nearly anything
        raise InputError(f"{place} has {len(row)} bytes that are not an image: fix or drop the row") from error


def size(shape: torch.Size) -> str:
    """The shape of one row for a message, such as ``3×4×5``."""
    return _sides(shape[1:])


def _sides(shape: torch.Size) -> str:
    return "×".join(map(str, shape))


def kind(dtype: torch.dtype) -> str:
    """The name of a type for a message, such as ``int64``."""
    return str(dtype).removeprefix("torch.")


class Scale:
    """Scales images without a transform to [0, 1]: decides between grey and colour, and which value is white.

    Pixels are read as they are stored: an orientation in the EXIF data is not applied (but to TIFF, where Pillow does).

    Args:
        rows: the images. All modes are read, and the pixels of images deeper than 8 bits.
        where: ``training`` or ``test``, for messages.
        like: what was decided on other rows, which holds for these too.

    Raises:
        InputError: a row is not an image, a few images among grey ones are in colour, or the bit depth cannot be
            determined.
    """

    def __init__(self, rows: Sequence[Any], where: str, like: Scale | None = None) -> None:
        modes, brightest, first_colour = Counter[str](), 0, -1
        noticed = Counter[str]()
        for at, row in enumerate(rows):
            picture = _opened(row, place := _place(rows, where, at))
            modes[picture.mode] += 1
            if picture.mode not in _GREY and first_colour < 0:
                first_colour = at
            if picture.mode in _DEEP and like is None:
                low, high = _extrema(picture, place)
                if low < 0:
                    raise InputError(
                        f"{place} is an image of mode {picture.mode} with values below 0: "
                        "set dataset.transform to scale it"
                    )
                brightest = max(brightest, high)
            noticed.update(_peculiarities(picture, place))
        colours = sum(count for mode, count in modes.items() if mode not in _GREY)
        self.grey: bool = like.grey if like else not colours
        if colours and (self.grey or (like is None and 2 * colours < modes.total())):
            grey = "the training images" if like else f"{modes.total() - colours} of {modes.total()} {where} images"
            mode = _opened(rows[first_colour], where).mode
            raise InputError(
                f"{_place(rows, where, first_colour)} is an image in colour ({mode}), but {grey} are grey: "
                "convert it, or set dataset.transform to read all images alike"
            )
        self.white: int = like.white if like else 255 if brightest <= 255 else 65535
        if 255 < brightest <= 4095 or brightest > 65535:
            depth = "like 12 bits stored in 16" if brightest <= 4095 else "more than 16 bits"
            raise InputError(
                f"{where} images of mode {', '.join(sorted(set(modes) & set(_DEEP)))} have values up to {brightest}, "
                f"{depth}: set dataset.transform to scale them to [0, 1]"
            )
        self.remarks = tuple(
            Remark(f"{count} of {len(rows)} {where} images {what}", fine=what == _ALPHA)
            for what, count in sorted(noticed.items())
        )
        """What the user may not expect of these images."""

    def __call__(self, picture: Image.Image, place: str) -> NDArray[np.float32]:
        """An image as (channels, height, width) in [0, 1].

        Raises:
            InputError: the image cannot be decoded, has a value outside [0, 1] after scaling, or is drawn only in its
                transparency.
        """
        try:
            pixels = self._pixels(picture, place)
        except InputError:
            raise
        except Exception as error:  # a damaged file makes Pillow's readers raise nearly anything
            raise _undecodable(place, error) from error
        return pixels

    def _pixels(self, picture: Image.Image, place: str) -> NDArray[np.float32]:
        if picture.mode in _DEEP or picture.mode == "F":
            pixels = np.asarray(picture, dtype=np.float32) / np.float32(1 if picture.mode == "F" else self.white)
            if not (pixels.min() >= 0 and pixels.max() <= 1):  # NaN is refused too
                raise InputError(
                    f"{place} is an image of mode {picture.mode} with values from {pixels.min():g} to "
                    f"{pixels.max():g}, outside [0, 1]: set dataset.transform to scale it"
                )
            return pixels[None] if self.grey else np.repeat(pixels[None], 3, axis=0)
        _require_opaque(picture, place)
        pixels = np.asarray(picture.convert("L" if self.grey else "RGB"), dtype=np.float32) / np.float32(255)
        return pixels[None] if self.grey else pixels.transpose(2, 0, 1)


def _peculiarities(picture: Image.Image, place: str) -> Iterable[str]:
    """What is lost of an image, or read in another way than other programs do."""
    try:
        # Other formats would be decoded for their EXIF data; TIFF is turned by Pillow.
        if picture.format in ("JPEG", "MPO", "WEBP") and picture.getexif().get(ExifTags.Base.Orientation, 1) != 1:
            yield "stored turned or mirrored (EXIF orientation), and read as stored: dataset.transform can turn them"
        if picture.format != "MPO" and getattr(picture, "n_frames", 1) > 1:  # an MPO's others are previews
            yield "with several frames, of which the first is read"
    except Exception as error:  # a damaged file makes Pillow's readers raise nearly anything
        raise _undecodable(place, error) from error
    if picture.has_transparency_data:
        yield _ALPHA


def _extrema(picture: Image.Image, place: str) -> tuple[int, int]:
    try:
        pixels = np.asarray(picture)  # Pillow's own extrema of 16 bits differ between versions
    except Exception as error:  # a damaged file makes Pillow's readers raise nearly anything
        raise _undecodable(place, error) from error
    return int(pixels.min()), int(pixels.max())


def _undecodable(place: str, error: Exception) -> InputError:
    """The error for an image that can be opened but not decoded, such as a truncated one."""
    return InputError(f"{place} has an image that cannot be decoded ({one_line(error)}): fix or drop the row")


def _require_opaque(picture: Image.Image, place: str) -> None:
    """Refuse an image drawn only in its alpha channel, which would be a uniform area without it."""
    if not picture.has_transparency_data:
        return
    *colours, alpha = picture.convert("RGBA").split()
    least, most = alpha.getextrema()
    if least != most and all(len(set(colour.getextrema())) == 1 for colour in colours):
        raise InputError(
            f"{place} is an image of mode {picture.mode} drawn only in its transparency: "
            "set dataset.transform to put it on a background"
        )


@dataclass(frozen=True)
class Form:
    """The names, shapes and types of a row's tensors. A single tensor has no name."""

    tensors: tuple[tuple[str, torch.Size, torch.dtype], ...]

    @staticmethod
    def of(row: Mapping[str, Tensor]) -> Form:
        """The form of a row."""
        return Form(tuple((name, tensor.shape, tensor.dtype) for name, tensor in row.items()))

    def __str__(self) -> str:
        return " and ".join(f"{name} {_sides(shape)}".strip() for name, shape, _ in self.tensors)

    @property
    def kinds(self) -> str:
        """The types, for a message."""
        return " and ".join(f"{name} {kind(dtype)}".strip() for name, _, dtype in self.tensors)


class Prepared:
    """Raw inputs as tensors, prepared on access (an ``Inputs``): float32, or the integers that a transform returns.

    Args:
        rows: encoded or PIL images, feature vectors, texts, or dicts of a row's columns.
        transform: the user's function of one row.
        where: ``training`` or ``test``, for messages.
        scale: scales images without a transform; None for other rows or with a transform.

    Raises:
        InputError: a row cannot be prepared, or its form differs from the first row's.
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
        self.form = Form.of(self._prepared(0))
        _, shape, self.dtype = self.form.tensors[0]
        self._named = bool(self.form.tensors[0][0])
        self.shape = torch.Size([len(rows), *(() if self._named else shape)])

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: Tensor) -> Batch:
        batch = {name: torch.empty((len(rows), *shape), dtype=dtype) for name, shape, dtype in self.form.tensors}
        for place, at in enumerate(rows.tolist()):
            row = self._prepared(at)
            if Form.of(row) != self.form:
                self._refuse(at, Form.of(row))
            for name, tensor in row.items():
                batch[name][place] = tensor
        return NamedTensors(batch) if self._named else batch[""]

    def _refuse(self, at: int, form: Form) -> None:
        if form.kinds != self.form.kinds:
            raise InputError(
                f"dataset.transform returns {form.kinds} on {self._place(at)}, but {self.form.kinds} on the first: "
                "return numbers of one type"
            )
        what = "inputs" if self._named else "images"
        raise InputError(
            f"{what} of mixed size: {self._place(at)} is {form}, the first is {self.form}: "
            f"set dataset.transform to resize them"
        )

    def _place(self, at: int) -> str:
        return _place(self._rows, self._where, at)

    def _prepared(self, at: int) -> dict[str, Tensor]:
        raw = self._rows[at]
        if raw is None or isinstance(raw, bytes):
            raw = _opened(raw, self._place(at))
        if self._scale is not None:
            return {"": torch.from_numpy(self._scale(raw, self._place(at)))}
        return self._transformed(raw, at) if self._transform else {"": torch.as_tensor(raw).float()}

    def _transformed(self, raw: Any, at: int) -> dict[str, Tensor]:
        assert self._transform is not None
        try:
            value = self._transform(raw)
            tensors = {name: _tensor(part) for name, part in _parts(value).items()}
        except Exception as error:
            why = " ".join(f"{type(error).__name__}: {error}".split())
            raise InputError(f"dataset.transform fails on {self._place(at)} ({why}): fix it") from error
        if bad := next((name for name in tensors if not (name.isidentifier() or name.isdigit() or not name)), None):
            raise InputError(
                f"dataset.transform returns a tensor named {bad!r} on {self._place(at)}: use the names of the model's "
                "arguments"
            )
        if not tensors:
            raise InputError(f"dataset.transform returns nothing on {self._place(at)}: return a tensor, or several")
        if any(tensor.is_complex() for tensor in tensors.values()):
            raise InputError(f"dataset.transform returns complex numbers on {self._place(at)}: return real ones")
        return tensors


def _parts(value: Any) -> dict[str, Any]:
    """What a transform returned, by name: a mapping's keys, a tuple's positions, or the empty name of a single one."""
    if isinstance(value, Mapping):
        return {str(name): part for name, part in value.items()}
    if isinstance(value, tuple):
        return {str(at): part for at, part in enumerate(value)}
    return {"": value}


def _tensor(value: Any) -> Tensor:
    tensor = torch.as_tensor(value if isinstance(value, Tensor) else np.asarray(value))
    return tensor.float() if tensor.is_floating_point() else tensor.to(_UNSIGNED.get(tensor.dtype, tensor.dtype))
