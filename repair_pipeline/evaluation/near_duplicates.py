"""Test rows that are nearly copies of training rows: a model has seen them, so they are no evidence of what it learnt.

Rows are near duplicates if they are far closer than other rows in the same region are. How far is a matter of chance:
among K rows spread evenly over a ball in D dimensions, the nearest lies within a share t of the ball's radius with
probability 1 − (1 − t^D)^(K − 1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int64
from scipy.fft import dctn
from scipy.stats import false_discovery_control
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize
from sklearn.random_projection import GaussianRandomProjection
from torch import Tensor, nn

from repair_pipeline.types import Examples, Progress, silent

NEIGHBOURS = 20
"""K: the nearest training rows of a test row. More copies of one row than about half of it hide one another."""
_FEWEST = 4
"""Training rows from which on a distance can be compared with others."""
FALSE_SHARE = 0.01
"""The largest expected share of rows that are near by chance among those found."""
_SIDE = 32
"""Pixels along the longer side to which larger images are reduced."""
_FREQUENCIES = 8
"""The most frequencies along each side that nearest images are searched by, as in a perceptual hash (pHash)."""
_NOISE = 2
"""How far a row's own dimension may fall below the usual one by chance: it is estimated from a few distances."""
_WIDEST = 256
"""Features above which rows are projected at random, so that distances cost no more."""
_BATCH = 256
_PAIRED = 32
"""Test images that are compared with their neighbours at a time."""


@dataclass(frozen=True)
class NearDuplicate:
    """A test row and the training row that it nearly repeats."""

    test_id: str
    train_id: str
    closeness: float
    """Their distance as a share of that to the ``NEIGHBOURS``-th neighbour; 0 for a copy."""


def near_duplicates(train: Examples, test: Examples, progress: Progress = silent) -> list[NearDuplicate]:
    """The test rows that are much closer to a training row than chance explains.

    Images are compared by the slopes of their brightness, at the best of nine shifts by up to a pixel (of at most
    ``_SIDE``): brightness, contrast and compression hardly change these. Other inputs are compared by their Euclidean
    distance, with each feature divided by its robust spread; rows must be close in the features of many values alone,
    too.

    The usual dimension D is that by which half of the test rows are closer than the median of ``closer_than_chance``;
    it is lower where the farther half of a row's neighbours (the nearer ones may be copies) show a lower one, as in
    Levina and Bickel (2004). The share of false rows is bounded by Benjamini and Hochberg's rule. In few dimensions,
    rows lie so close by chance that only near-exact copies count.

    Costs one product of the rows with at most ``_WIDEST`` features, some minutes for 10⁵ × 10⁵ rows, and memory for
    ``_SIDE``² numbers a row.

    Args:
        train: the training rows.
        test: the test rows.
        progress: called with (done, total) test rows.

    Returns:
        Those that were found, in the order of ``test``.
    """
    if len(train) < _FEWEST or not len(test) or not train.shape:
        return []  # there is nothing to compare a distance with, or no distance between rows of several tensors
    if len(train.shape) == 3 and train.shape[0] in (1, 3):
        seen, searched = _thumbnails(train), _thumbnails(test)
        twin, closeness, chance = _nearest(seen, searched, *_low_frequencies(seen, searched), _aligned, progress)
    else:
        seen, searched = _scaled(_vectors(train), _vectors(test))
        twin, closeness, chance = _nearest(seen, searched, *_projected(seen, searched), _apart, progress)
        measured = torch.tensor([len(column.unique()) > NEIGHBOURS for column in seen.T])
        if measured.any() and not measured.all():
            # Rows that agree in features of few values do so by chance. They must be as close in the others.
            seen, searched = seen[:, measured], searched[:, measured]
            chance = np.maximum(chance, _nearest(seen, searched, *_projected(seen, searched), _apart, progress)[2])
    found = np.flatnonzero(false_discovery_control(chance) <= FALSE_SHARE)
    return [NearDuplicate(str(test.ids[row]), str(train.ids[twin[row]]), float(closeness[row])) for row in found]


def _nearest(
    train: Tensor,
    test: Tensor,
    coarse_train: Float32[np.ndarray, "n d"],
    coarse_test: Float32[np.ndarray, "m d"],
    distance: Callable[[Tensor, Tensor], Tensor],
    progress: Progress,
) -> tuple[Int64[np.ndarray, " m"], Float64[np.ndarray, " m"], Float64[np.ndarray, " m"]]:
    """Position of each test row's nearest training row, its closeness, and the probability of that by chance.

    Neighbours are searched by the coarse rows, and compared by ``distance`` between the rows themselves.
    """
    count = min(NEIGHBOURS, len(train))
    # sklearn's brute force keeps K neighbours a row while it multiplies blocks: the full matrix is never there.
    search = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(coarse_train)
    twin, distances = np.empty(len(test), dtype=np.int64), np.empty((len(test), count))
    for start in range(0, len(test), _BATCH):
        neighbours = search.kneighbors(coarse_test[start : start + _BATCH], return_distance=False)
        for at in range(0, len(neighbours), _PAIRED):
            some, rows = neighbours[at : at + _PAIRED], slice(start + at, start + min(at + _PAIRED, len(neighbours)))
            apart = distance(test[rows], train[torch.from_numpy(some)]).numpy()
            twin[rows] = np.take_along_axis(some, apart.argmin(axis=1)[:, None], axis=1)[:, 0]
            distances[rows] = np.sort(apart, axis=1)
        progress(min(start + _BATCH, len(test)), len(test))
    return twin, *closer_than_chance(distances)


def closer_than_chance(
    distances: Float64[np.ndarray, "n k"],
) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """How close the nearest of K neighbours is, and the probability that it is as close by chance.

    Args:
        distances: of each row's K neighbours, nearest first.

    Returns:
        The nearest distance as a share of the K-th, and 1 − (1 − share^D)^(K − 1). Of a row whose K neighbours are all
        at distance 0, as in a table of few values, the share is 1.
    """
    count = distances.shape[1]
    farthest, half = distances[:, -1:], np.arange(count // 2, count - 1)
    share = np.divide(distances, farthest, out=np.ones_like(distances), where=farthest > 0)
    nearest = share[:, 0]
    # Half of the rows have a nearest neighbour that is as close as this with a probability of 0.5.
    usual = np.log(-np.expm1(np.log(0.5) / (count - 1))) / np.log(np.median(nearest).clip(1e-9, 1 - 1e-9))
    spread = -np.log(share[:, half].clip(np.finfo(float).tiny)).mean(axis=1)
    denser = np.divide(_NOISE * np.median(spread), spread, out=np.ones_like(spread), where=spread > 0)
    dimension = usual * denser.clip(max=1)
    with np.errstate(divide="ignore"):
        chance = -np.expm1((count - 1) * np.log1p(-(nearest**dimension)))
    return nearest, chance


def _batches(rows: Examples) -> Iterator[Tensor]:
    return (batch.tensor.float() for batch in rows.batches(_BATCH))


def _thumbnails(images: Examples) -> Float[Tensor, "n h w"]:
    """Brightness at ``_SIDE`` pixels along the longer side, or as many as there are."""
    height, width = images.shape[1:]
    shrink = min(1.0, _SIDE / max(height, width))
    size = (max(1, round(shrink * height)), max(1, round(shrink * width)))
    return torch.cat([nn.functional.adaptive_avg_pool2d(batch.mean(dim=1), size) for batch in _batches(images)])


def _vectors(rows: Examples) -> Float64[Tensor, "n d"]:
    return torch.cat([batch.flatten(1).double() for batch in _batches(rows)])


def _scaled(
    train: Float64[Tensor, "n d"], test: Float64[Tensor, "m d"]
) -> tuple[Float64[Tensor, "n d"], Float64[Tensor, "m d"]]:
    """Each feature divided by its interquartile range in D, or where that is 0, by its standard deviation."""
    quartiles = np.quantile(train.numpy(), [0.25, 0.75], axis=0)
    spread, deviation = torch.from_numpy(quartiles[1] - quartiles[0]), train.std(dim=0)
    # 1.349 is the interquartile range of a normal variable in standard deviations.
    spread = torch.where(spread > 0, spread / 1.349, deviation)
    # A feature that D holds constant says nothing of which rows are near.
    scale = torch.where(spread > 0, 1 / spread, 0.0)
    return train * scale, test * scale


def _projected(
    train: Float64[Tensor, "n d"], test: Float64[Tensor, "m d"]
) -> tuple[Float32[np.ndarray, "n p"], Float32[np.ndarray, "m p"]]:
    """The rows, or where they are wide, random projections that keep distances (Johnson and Lindenstrauss 1984)."""
    rows, others = train.numpy().astype(np.float32), test.numpy().astype(np.float32)
    if rows.shape[1] <= _WIDEST:
        return rows, others
    project = GaussianRandomProjection(_WIDEST, random_state=0).fit(rows)
    return project.transform(rows), project.transform(others)


def _low_frequencies(
    train: Float32[Tensor, "n h w"], test: Float32[Tensor, "m h w"]
) -> tuple[Float32[np.ndarray, "n p"], Float32[np.ndarray, "m p"]]:
    """The lowest frequencies of the cosine transform of each image.

    They are whitened, or the brightness of sky against ground would decide, and of norm 1, as contrast does not count.
    """
    lowest = int(np.clip(max(train.shape[1:]) // 4, 4, _FREQUENCIES))  # a shift by a pixel undoes higher ones
    low, others = (
        np.concatenate([dctn(part.numpy(), axes=(1, 2))[:, :lowest, :lowest] for part in rows.split(4096)])
        .reshape(len(rows), -1)[:, 1:]  # without the mean
        .astype(np.float32)
        for rows in (train, test)
    )
    spread = low.std(axis=0)
    scale = np.divide(1, spread, out=np.zeros_like(spread), where=spread > 0)
    return normalize(low * scale), normalize(others * scale)


def _apart(rows: Float64[Tensor, "n d"], neighbours: Float64[Tensor, "n k d"]) -> Float64[Tensor, "n k"]:
    return (neighbours - rows[:, None]).norm(dim=2)


def _aligned(images: Float[Tensor, "n h w"], neighbours: Float[Tensor, "n k h w"]) -> Float64[Tensor, "n k"]:
    """√(2 − 2r) with r the correlation of the images' slopes, the highest over shifts by up to one pixel."""
    fixed = _unit(_slopes(neighbours)[..., 1:-1, 1:-1])
    height, width = fixed.shape[-2:]
    moved = _slopes(images)
    shifted = torch.stack([moved[..., y : y + height, x : x + width] for y in range(3) for x in range(3)], dim=1)
    correlation = torch.einsum("nkp,nsp->nks", fixed.flatten(2), _unit(shifted).flatten(2)).amax(dim=2)
    return (2 - 2 * correlation.double()).clamp_min(0).sqrt()


def _slopes(images: Float[Tensor, "*n h w"]) -> Float[Tensor, "*n 2 y x"]:
    """Horizontal and vertical differences of neighbouring pixels, smoothed across by two (Roberts' cross)."""
    flat = nn.functional.pad(images.flatten(0, -3)[:, None], (1, 1, 1, 1), mode="replicate").squeeze(1)
    a, b, c, d = flat[:, :-1, :-1], flat[:, :-1, 1:], flat[:, 1:, :-1], flat[:, 1:, 1:]
    slopes = torch.stack([b + d - a - c, c + d - a - b], dim=1)
    return slopes.unflatten(0, images.shape[:-2])


def _unit(slopes: Float[Tensor, "*n 2 h w"]) -> Float[Tensor, "*n 2 h w"]:
    return slopes / slopes.flatten(-3).norm(dim=-1).clamp_min(1e-12)[..., None, None, None]
