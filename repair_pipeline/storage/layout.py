"""Paths of all stored files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from repair_pipeline.settings import read_settings


@dataclass(frozen=True)
class Layout:
    """Paths below ``home``, hive-partitioned by case (``case_id=...``), or by base for files that cases share."""

    home: Path

    @staticmethod
    def current() -> Layout:
        """The layout below the setting ``home``.

        Raises:
            InputError: a setting is not valid.
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
        """Templates of nightly runs, one JSON file each."""
        return self.home / "templates"

    def nights(self, template: str) -> Path:
        """Failures of the nightly runs of a template, one CSV file each."""
        return self.results / "nights" / f"template={template}"

    @property
    def notices(self) -> Path:
        """Problems of nightly runs, one line each."""
        return self.home / "notices.log"

    def base(self, base_id: str, file: str) -> Path:
        """A file upstream of the failures, which cases with the same base share."""
        return self.results / "bases" / f"base_id={base_id}" / file

    def table(self, table: str, case_id: str) -> Path:
        """The file of a case in a table."""
        return self.results / table / f"case_id={case_id}" / f"{table}.parquet"

    def influence(self, case_id: str, method: str, group: str = "") -> Path:
        """Scores of one influence method.

        Args:
            case_id: the case.
            method: the influence method.
            group: the failure group, or empty if the case has only one.
        """
        file = f"{group}.parquet" if group else "influence.parquet"
        return self.results / "influence" / f"case_id={case_id}" / f"method={method}" / file

    def out_of_fold(self, case_id: str, group: str = "") -> Path:
        """Predictions of models that were not trained on the row, of one failure group."""
        file = f"{group or 'out_of_fold'}.safetensors"
        return self.results / "out_of_fold" / f"case_id={case_id}" / file

    def cross_predicted(self, case_id: str, group: str = "") -> Path:
        """Predictions of all test rows by the same models; for judging the test set, not for methods."""
        return self.out_of_fold(case_id, group).with_name(f"{group or 'test_rows'}.tests.safetensors")

    def patch(self, case_id: str, file: str) -> Path:
        """A file of the data set patch of a case, for the user to take away."""
        return self.results / "patches" / f"case_id={case_id}" / file

    def candidate(self, case_id: str) -> Path:
        """The version of the accepted model in MLflow's registry."""
        return self.results / "registered" / f"case_id={case_id}" / "candidate.json"

    def model(self, case_id: str, variant: str) -> Path:
        """Weights of the model that one variant of a treatment made."""
        return self.results / "models" / f"case_id={case_id}" / f"{variant}.safetensors"

    def report(self, case_id: str) -> Path:
        return self.results / "reports" / f"case_id={case_id}" / "report.html"

    @property
    def comparison(self) -> Path:
        """The page that compares all cases, in the folder above their reports."""
        return self.results / "reports" / "all.html"

    def study(self, name: str) -> Path:
        """Folder of the tables and other files of a study."""
        return self.results / "studies" / name

    def attribution(self, study: str, data: str) -> Path:
        """What a study of attribution measured on one benchmark."""
        return self.results / "attribution" / f"study={study}" / f"data={data}" / "attribution.parquet"

    def tracked_run(self, case_id: str) -> Path:
        """Ids of the case's MLflow run."""
        return self.results / "tracked_runs" / f"case_id={case_id}" / "run.json"


def data_dir() -> Path:
    """The folder that data sets are read from: the setting ``data_dir``.

    Raises:
        InputError: a setting is not valid.
    """
    return read_settings().data_dir
