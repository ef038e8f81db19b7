"""Studies: their pieces, resuming them, and their tables."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from repair_pipeline.compute.engines import Processes, using
from repair_pipeline.influence.methods import METHODS
from repair_pipeline.reporting.picture import Picture, canvas
from repair_pipeline.storage.layout import Layout
from repair_pipeline.studies.counterfactual import _predictive
from repair_pipeline.studies.methods import GROUPS, Methods
from repair_pipeline.studies.studies import STUDIES
from repair_pipeline.studies.study import Piece, Stage, run_study
from repair_pipeline.studies.tables import gain, markdown, mean_sd
from repair_pipeline_tests.studies.touching import touched


@dataclass(frozen=True)
class Small:
    """A study of two stages, whose pieces each write one line."""

    home: Path
    fails: tuple[str, ...] = ()
    name: str = "small"

    def stages(self, layout, data_dir):
        def piece(name):
            path = self.home / name
            return Piece(name, {path: 30.0}, partial(touched, path, name in self.fails))

        return [Stage([piece("first")]), Stage([piece("second"), piece("grumbling")])]

    def figures(self, layout):
        figure, ax = canvas(1.0)
        ax.plot([0, 1])
        return {"line": Picture(figure, "a line")}

    def tables(self, layout):
        return {"lines": pd.DataFrame([{"piece": path.name, "says": path.read_text()} for path in self.home.iterdir()])}


def test_a_study_makes_only_missing_files(tmp_path):
    layout, study = Layout(tmp_path / "home"), Small(tmp_path / "pieces")
    touched(study.home / "second", fails=False)
    seen = []
    with using(Processes(2)):
        failed = run_study(study, layout, tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert failed == ["grumbling: grumbled"]
    assert {path.name: path.read_text() for path in study.home.iterdir()} == dict.fromkeys(
        ("first", "second", "grumbling"), "once\n"
    )
    assert seen[-1] == (3, 3)
    assert (layout.study("small") / "lines.csv").read_text().count("once") == 3
    assert "## lines" in (layout.study("small") / "tables.md").read_text()


def test_a_piece_that_fails_stops_no_other_and_is_run_again(tmp_path, caplog):
    layout, home = Layout(tmp_path / "home"), tmp_path / "pieces"
    failed = run_study(Small(home, fails=("first",)), layout, tmp_path, lambda done, total: None)
    assert failed == ["first failed: no luck", "grumbling: grumbled"]
    assert not (home / "first").exists()
    assert run_study(Small(home), layout, tmp_path, lambda done, total: None) == []
    assert (home / "first").read_text() == "once\n"


def test_the_files_left_of_a_piece_are_the_missing_ones(tmp_path):
    piece = Piece("half", {tmp_path / "there": 5.0, tmp_path / "absent": 7.0}, list)
    (tmp_path / "there").touch()
    assert (piece.left, piece.seconds_left) == ([tmp_path / "absent"], 7.0)


@pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)
def test_no_two_pieces_of_a_study_make_the_same_file(study, tmp_path):
    pieces = [piece for stage in study.stages(Layout(tmp_path), tmp_path) for piece in stage.pieces]
    files = [path for piece in pieces for path in piece.files]
    assert len(files) == len(set(files)) > 0
    assert all(seconds > 0 for piece in pieces for seconds in piece.files.values())


@pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)
def test_without_results_all_tables_are_empty(study, tmp_path):
    assert all(table.empty for table in study.tables(Layout(tmp_path)).values())


def test_every_method_is_in_one_group_and_all_of_a_seed_share_their_base():
    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(METHODS)
    specs = Methods().specs("mnist-label_noise", 3)
    assert len({spec.base_id for spec in specs}) == 1
    assert len({spec.digest for spec in specs}) == len(specs) == len(GROUPS) + 1


def test_means_and_deviations_are_over_seeds():
    rows = pd.DataFrame({"seed": [0, 1, 0, 1], "who": ["a", "a", "b", "b"], "auc": [0.5, 0.7, 0.9, None]})
    table = mean_sd(rows, ["who"], ["auc"]).to_dict("records")
    assert table[0] == {"who": "a", "seeds": 2, "auc": "0.600 ± 0.141"}
    assert table[1]["auc"].startswith("0.900 ± ")


def test_a_gain_is_paired_by_seed_with_students_interval():
    rows = pd.DataFrame({"family": "f", "seed": [0, 1, 2], "who": "a", "x": [0.5, 0.8, 0.6]})
    control = pd.DataFrame({"family": "f", "seed": [2, 1, 0], "x": [0.3, 0.5, 0.4]})
    gains = np.array([0.1, 0.3, 0.3])
    half = 4.302653 * gains.std(ddof=1) / np.sqrt(3)
    shown = gain(rows, control, ["family", "seed"], ["who"], "x")["gain"][0]
    assert shown == f"{gains.mean():+.3f} [{gains.mean() - half:+.3f}, {gains.mean() + half:+.3f}]"


def test_markdown_is_a_table():
    assert markdown(pd.DataFrame({"a": [1], "b": ["x"]})) == "| a | b |\n| --- | --- |\n| 1 | x |\n"


def test_the_predictive_averages_probabilities_over_retrainings():
    p = torch.tensor([[0.2, 0.5], [0.6, 0.1]], dtype=torch.float64)
    assert _predictive(p.log()) == pytest.approx(np.log(0.4) + np.log(0.3))
