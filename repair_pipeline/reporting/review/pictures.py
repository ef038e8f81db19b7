"""Images of rows and of classes as PNG."""

from __future__ import annotations

import io

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from repair_pipeline.errors import InputError
from repair_pipeline.reporting.gallery import pixels
from repair_pipeline.reporting.review.sheet import Sheet

_LARGEST = 512
"""Pixels along the longer side of an image on the page."""


def picture(sheet: Sheet, kind: str, at: int) -> bytes:
    """An image as PNG.

    Args:
        sheet: the rows; their inputs are images.
        kind: ``row``, ``failure``, or ``class``: the mean image of a class.
        at: position in the sheet, among the failures, or of the class.

    Raises:
        InputError: there is no such image.
    """
    data, fit = sheet.data, sheet.data.fit.examples
    counts = {"row": len(sheet), "failure": len(sheet.failures), "class": len(data.classes)}
    if not sheet.has_images or not 0 <= at < counts.get(kind, 0):
        raise InputError(f"there is no image {kind} {at}: give one of a row, a failure or a class")
    if kind == "class":
        usual = sheet.usual[at]
        mean = np.zeros(data.test.shape) if usual is None else usual.mean
        return _png(torch.from_numpy(mean).float(), sheet)
    rows, place = (fit, sheet.rows["row"][at].as_py()) if kind == "row" else (sheet.failures, at)
    return _png(rows[place : place + 1].tensor[0], sheet)


def _png(image: Float[Tensor, "c h w"], sheet: Sheet) -> bytes:
    shown = Image.fromarray((pixels(image, sheet.data.mean) * 255).round().astype(np.uint8))
    shown.thumbnail((_LARGEST, _LARGEST))
    buffer = io.BytesIO()
    shown.save(buffer, "PNG")
    return buffer.getvalue()
