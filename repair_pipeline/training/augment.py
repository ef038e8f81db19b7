"""Ready-made augmentation, for ``training.augment`` of a case."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from repair_pipeline.errors import InputError


def flips_and_shifts(images: Float[Tensor, "n *pixels"], generator: torch.Generator) -> Float[Tensor, "n *pixels"]:
    """Mirrors half of the images left to right, and shifts each by up to a tenth of the width in both directions.

    What a shift brings in is reflected at the border. Every image is drawn for by itself.

    Args:
        images: of shape (n, channels, height, width), on the CPU.
        generator: the only source of randomness.

    Raises:
        InputError: the inputs have another shape.
    """
    if images.ndim != 4:
        raise InputError(
            f"flips_and_shifts takes images, channels × height × width, but an input has the shape "
            f"{tuple(images.shape[1:])}: give another training.augment, or none"
        )
    count, channels, height, width = images.shape
    by = round(width / 10)
    mirrored = torch.rand(count, generator=generator) < 0.5
    images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
    padded = nn.functional.pad(images, (by, by, by, by), mode="reflect")
    down, right = torch.randint(2 * by + 1, (2, count, 1), generator=generator)
    rows, columns = down + torch.arange(height), right + torch.arange(width)
    at = torch.arange(count)[:, None, None, None], torch.arange(channels)[:, None, None]
    return padded[(*at, rows[:, None, :, None], columns[:, None, None, :])]
