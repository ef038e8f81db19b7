"""Verdicts on small tables in which one class is mislabelled, and what true labels would have brought.

python -m repair_pipeline_tests.evaluation.gate_tables takes a quarter of an hour on one core.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.preprocessing import StandardScaler
from torch import nn

from repair_pipeline.cases.spec import parse_spec
from repair_pipeline.errors import InputError
from repair_pipeline.pipeline.case import Case
from repair_pipeline.pipeline.gate import gate_verdicts
from repair_pipeline.pipeline.run import run_case
from repair_pipeline.storage.layout import Layout
from repair_pipeline.studies.cases import upto
from repair_pipeline.training.fit import Schedule, accuracy
from repair_pipeline.types import Examples, silent

FLIPPED = 0.15
"""Share of one class's training rows that get the label of the next class."""
SEEDS = range(10)
TABLES: Mapping[str, Callable[[], Any]] = {
    "wine": load_wine,
    "breast cancer": load_breast_cancer,
    "digits": load_digits,
}
_TRAINING = Schedule(max_epochs=60)


def net(features: int = 64, classes: int = 10) -> nn.Module:
    """The owner's network."""
    return nn.Sequential(nn.Linear(features, 32), nn.ReLU(), nn.Linear(32, classes))


def wine_net() -> nn.Module:
    return net(13, 3)


def breast_cancer_net() -> nn.Module:
    return net(30, 2)


def _examples(inputs: np.ndarray, labels: np.ndarray) -> Examples:
    ids = np.array([f"r{at:04}" for at in range(len(labels))])
    return Examples(ids, torch.tensor(inputs, dtype=torch.float32), torch.tensor(labels))


def _from_true_labels(rows: Examples, true: np.ndarray, tests: Examples, make: Callable[[], nn.Module]) -> float:
    """Accuracy on the test rows when trained on true labels, minus that as labelled: the mean of five seeds.

    Ten of the rows are for early stopping.
    """
    gains = []
    for seed in range(5):
        of = []
        for labels in (true, rows.labels.numpy()):
            torch.manual_seed(seed)
            learnt, generator = _examples(rows.inputs.numpy(), labels), torch.Generator().manual_seed(seed)
            of.append(accuracy(_TRAINING.fit(make(), learnt[10:], learnt[:10], generator, start="new"), tests))
        gains.append(of[0] - of[1])
    return float(np.mean(gains))


def verdict(table: str, seed: int, folder: Path) -> dict[str, Any]:
    """The gate's verdict on one table and seed, at the defaults of ``repair init``."""
    data, rng = TABLES[table](), np.random.default_rng(seed)
    order = rng.permutation(len(data.target))
    train, test = np.array_split(order, 2)
    scaled = StandardScaler().fit(data.data[train]).transform(data.data).astype(np.float32)
    classes = len(data.target_names)
    flipped = rng.permutation(np.flatnonzero(data.target[train] == seed % classes))
    given = data.target[train].copy()
    given[flipped[: round(FLIPPED * len(flipped))]] = (seed + 1) % classes
    for name, rows, labels in (("train", train, given), ("test", test, data.target[test])):
        columns = {f"x{at:02}": scaled[rows, at] for at in range(scaled.shape[1])}
        pd.DataFrame({**columns, "label": labels, "row": [f"r{at:04}" for at in rows]}).to_parquet(
            folder / f"{name}.parquet"
        )
    factory = table.replace(" ", "_") + "_net" if table != "digits" else "net"
    spec = parse_spec(
        {
            "name": f"{table.replace(' ', '-')}-{seed}",
            "seed": seed,
            "dataset": {"train": str(folder / "train.parquet"), "test": str(folder / "test.parquet"), "id": "row"},
            "model": {"factory": f"repair_pipeline_tests.evaluation.gate_tables:{factory}"},
            "training": {"max_epochs": _TRAINING.max_epochs},
            "influence": {"ewc": {}},
            "causes": {"positive": True},
            "treat": ["ewc"],
            "treatments": {"finetune": {}, "base": {}},
            "gate": {},
        }
    )
    case = Case(spec, Layout(folder / "home"), folder, torch.device("cpu"))
    said = "no verdict"
    try:
        run_case(case, lambda step: nullcontext(silent), steps=upto("evaluation"))
    except InputError as refused:  # too few failures
        said = str(refused)
    make = {"wine": wine_net, "breast cancer": breast_cancer_net, "digits": net}[table]
    gain = _from_true_labels(
        _examples(scaled[train], given), data.target[train], _examples(scaled[test], data.target[test]), make
    )
    shown = ("verdict", "removed", "fixed", "holdout", "broken", "gain", "over_control", "over_control_low")
    rows = gate_verdicts(case)
    found = {key: rows[0][key] for key in shown} if rows else {"verdict": said}
    return {"table": table, "seed": seed, **found, "true labels gain": gain}


def main() -> None:
    """Print a row for every table and seed."""
    torch.set_num_threads(1)
    for table in TABLES:
        for seed in SEEDS:
            with tempfile.TemporaryDirectory() as folder:
                row = verdict(table, seed, Path(folder))
            print(
                " | ".join(f"{value:.4f}" if isinstance(value, float) else str(value) for value in row.values()),
                flush=True,
            )


if __name__ == "__main__":
    main()
