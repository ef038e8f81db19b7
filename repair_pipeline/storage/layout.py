"""Where each file of a case lies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from repair_pipeline.settings import read_settings


@dataclass(frozen=True)
class Layout:
    """Paths below ``home``, hive-partitioned by case (``case_id=...``), or by base where cases share."""

    home: Path

    @staticmethod
    def current() -> Layout:
        """That of the setting ``home``.

        Raises:
            InputError: a setting cannot be used.
        """
        return Layout(read_settings().home)

    @property
    def results(self) -> Path:
        return self.home / "results"

    @property
    def dagster_home(self) -> Path:
        return self.home / "dagster_home"

    @property
    def mlflow(self) -> Path:
        return self.home / "mlflow"

    @property
    def templates(self) -> Path:
        """The cases that are repaired by night, a JSON file each."""
        return self.home / "templates"

    def nights(self, template: str) -> Path:
        """What the nights of a template are about: a CSV file of failures each."""
        return self.results / "nights" / f"template={template}"

    @property
    def notices(self) -> Path:
        """What went wrong by night, a line each."""
        return self.home / "notices.log"

    def base(self, base_id: str, file: str) -> Path:
        """A file that lies upstream of the failures."""
        return self.results / "bases" / f"base_id={base_id}" / file

    def table(self, table: str, case_id: str) -> Path:
        """A table that a case has one file of."""
        return self.results / table / f"case_id={case_id}" / f"{table}.parquet"

    def influence(self, case_id: str, method: str, group: str = "") -> Path:
        """One method's scores, for one of a case's failure groups where it has several."""
        file = f"{group}.parquet" if group else "influence.parquet"
        return self.results / "influence" / f"case_id={case_id}" / f"method={method}" / file

    def patch(self, case_id: str, file: str) -> Path:
        """The data set patch of a case, as its owner takes it away."""
        return self.results / "patches" / f"case_id={case_id}" / file

    def candidate(self, case_id: str) -> Path:
        """The accepted model's version in MLflow's registry."""
        return self.results / "registered" / f"case_id={case_id}" / "candidate.json"

    def model(self, case_id: str, variant: str) -> Path:
        """The weights of one variant of a treatment."""
        return self.results / "models" / f"case_id={case_id}" / f"{variant}.safetensors"

    def report(self, case_id: str) -> Path:
        return self.results / "reports" / f"case_id={case_id}" / "report.html"

    @property
    def comparison(self) -> Path:
        """The page that compares all cases, above their reports."""
        return self.results / "reports" / "all.html"

    def study(self, name: str) -> Path:
        """The folder of a study's tables, and of what is its own."""
        return self.results / "studies" / name

    def tracked_run(self, case_id: str) -> Path:
        """The case's MLflow run, by id."""
        return self.results / "tracked_runs" / f"case_id={case_id}" / "run.json"


def data_dir() -> Path:
    """Where data sets are read: the setting ``data_dir``.

    Raises:
        InputError: a setting cannot be used.
    """
    return read_settings().data_dir
