"""A folder with a case whose repair has a verdict and a patch."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from typer.testing import CliRunner

from repair_pipeline.cases.spec import parse_spec
from repair_pipeline.cli.main import app
from repair_pipeline.datasets.user_data import read
from repair_pipeline.pipeline.inputs import changed_data, digests
from repair_pipeline.storage.layout import Layout
from repair_pipeline.storage.records import save_dataset, save_rows
from repair_pipeline.storage.views import query
from repair_pipeline.types import CorruptedDataset, TrainingRows
from repair_pipeline_tests.pipeline.conftest import case_at


def tables(folder, suffix):
    rows = pd.DataFrame({"row": list("abcdefgh"), "x": np.arange(8) / 2, "label": ["no", "yes"] * 4})
    for name, part in (("train", rows), ("test", rows.assign(row=list("stuvwxyz")))):
        if suffix == "csv":
            part.to_csv(folder / f"{name}.csv", index=False)
        else:
            part.to_parquet(folder / f"{name}.parquet", index=False)
    return {"train": f"train.{suffix}", "test": f"test.{suffix}", "id": "row"}


def pictures(folder):
    for at, part in enumerate(("train", "test")):
        for label in ("no", "yes"):
            (folder / part / label).mkdir(parents=True)
        for number in range(16):
            picture = Image.new("L", (4, 4), 10 * number + at)
            picture.save(folder / part / ("no", "yes")[number % 2] / f"{number}.png")
    return {"train": "train", "test": "test"}


KINDS = {
    "csv": lambda folder: tables(folder, "csv"),
    "parquet": lambda folder: tables(folder, "parquet"),
    "images": pictures,
}


class Desk:
    """A folder with a case whose repair has a verdict and a patch of five rows."""

    def __init__(self, folder, dataset, verdict="accepted"):
        spec = parse_spec({"name": "wards", "dataset": dataset, "model": {"factory": "my_model:net"}})
        layout = Layout(folder / "home")
        spec = parse_spec({**spec.resolved, "inputs": digests(spec, layout, ["dataset.train"])})
        self.case = case_at(layout.home, spec)
        self.case.register("finished")
        rows = self.rows()
        self.ids = [*rows]
        patch = [
            {
                "failure_group": "all",
                "example_id": self.ids[at],
                "action": action,
                "label": rows[self.ids[at]],
                "suggested_label": {"no": "yes", "yes": "no"}[rows[self.ids[at]]] if action == "relabel" else None,
                "rank": at + 1,
                "probability": probability,
            }
            for at, (action, probability) in enumerate(
                [("drop", 0.95), ("relabel", 0.9), ("drop", 0.5), ("relabel", None), ("drop", 0.97)]
            )
        ]
        save_rows(layout.table("patch", self.case.id), "patch", patch, {})
        self.judge(verdict)

    def store(self):
        """Keep the data that the case was judged on, as its run does."""
        data = read(self.case.spec.dataset, Path())
        none = torch.zeros(len(data.train), dtype=torch.bool)
        parts = [TrainingRows(data.train[rows], data.train.labels[rows], none[rows]) for rows in (~none, none)]
        judged = CorruptedDataset(*parts, data.test, data.classes, data.mean, None)
        save_dataset(self.case.dataset_path, judged, dict)

    def paths(self):
        return read(self.case.spec.dataset, Path()).metadata["path"].to_pylist()

    def judge(self, verdict):
        row = {"failure_group": "all", "judge": "gate", "verdict": verdict}
        save_rows(self.case.layout.table("verdicts", self.case.id), "verdicts", [row], {})

    def rows(self):
        """The label of each training row."""
        data = read(self.case.spec.dataset, Path())
        names = (data.classes[label] for label in data.train.labels.tolist())
        return dict(zip(data.train.ids.tolist(), names, strict=True))

    def apply(self, *options):
        return CliRunner().invoke(app, ["patch", "apply", self.case.id, *options])

    def revert(self):
        assert CliRunner().invoke(app, ["patch", "revert", self.case.id]).exit_code == 0

    def ask(self, columns="example_id, decision, label, source, reviewer, failure_group"):
        sql = f"SELECT {columns} FROM applied WHERE case_id = '{self.case.id}' ORDER BY ALL"
        return query(self.case.layout, sql).to_pylist()

    def changed(self):
        return changed_data(self.case.spec, self.case.layout, self.case.id)


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
