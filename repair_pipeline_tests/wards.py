"""An owner's model and tables, small enough to repair in seconds."""

from pathlib import Path

import numpy as np
import pandas as pd
from torch import nn


def net() -> nn.Module:
    """Batch normalisation, dropout, tied weights and a frozen layer."""
    first, tied, again = nn.Linear(2, 8), nn.Linear(8, 8), nn.Linear(8, 8)
    again.weight = tied.weight
    first.bias.requires_grad_(False)
    return nn.Sequential(
        first, nn.BatchNorm1d(8), nn.ReLU(), tied, nn.ReLU(), nn.Dropout(0.1), again, nn.ReLU(), nn.Linear(8, 2)
    )


def write_tables(folder: Path) -> None:
    """train.parquet and test.parquet; in training, two scanners call three quarters of the sick well."""
    rows(400, 1, flipped=True).to_parquet(folder / "train.parquet", index=False)
    rows(600, 2, flipped=False).to_parquet(folder / "test.parquet", index=False)


def rows(count: int, seed: int, flipped: bool) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 2))
    scanner = np.where(x[:, 0] > 0.5, "B", np.where(x[:, 0] < -0.5, "C", "A"))
    sick = x[:, 1] > 0
    said = sick & ~((scanner != "A") & flipped & (rng.random(count) < 0.75))
    labels, names = np.where(said, "sick", "well"), [f"{seed}-{at}" for at in range(count)]
    return pd.DataFrame({"row": names, "x": x[:, 0], "y": x[:, 1], "label": labels, "scanner": scanner})
