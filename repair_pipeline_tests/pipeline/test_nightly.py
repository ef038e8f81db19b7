"""Templates and their nights, without a model."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from repair_pipeline.cases.presets import case_id
from repair_pipeline.cases.spec import parse_spec
from repair_pipeline.cli.main import app
from repair_pipeline.errors import InputError
from repair_pipeline.pipeline import nightly
from repair_pipeline.pipeline.case import Case, stored_spec
from repair_pipeline.pipeline.nightly import (
    Skip,
    add_template,
    find_template,
    make_base,
    make_night,
    remove_template,
    templates,
)
from repair_pipeline.storage.layout import Layout
from repair_pipeline.storage.records import save_rows
from repair_pipeline.tracking.registry import Version
from repair_pipeline_tests.wards import write_tables

DAY = date(2026, 11, 25)
WARDS = {
    "name": "wards",
    "dataset": {"train": "train.parquet", "test": "test.parquet", "id": "row"},
    "model": {"factory": "repair_pipeline_tests.wards:net"},
    "gate": {},
    "nightly": {"failures": "incoming"},
}


@pytest.fixture
def layout(tmp_path, monkeypatch):
    """A folder with tables and an empty folder for reports; no model is registered."""
    write_tables(tmp_path)
    (tmp_path / "incoming").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(nightly, "champion", lambda *args: None)
    layout = Layout(tmp_path / "home")
    add_template(layout, parse_spec(WARDS), tmp_path)
    return layout


def report(file, *rows):
    pd.DataFrame({"row": [f"2-{at}" for at in rows]}).to_csv(Path("incoming") / file, index=False)


def night(layout, day=DAY, status="finished"):
    """The night, and what becomes of it."""
    made = make_night(layout, find_template(layout, "wards"), day)
    if not isinstance(made, Skip):
        Case(made, layout, Path("no-data"), torch.device("cpu")).register(status)
    return made


def failures(spec):
    return pd.read_csv(spec.failures.reported)["row"].tolist()


def test_a_night_is_a_case_of_what_was_reported_since_the_last(layout):
    report("monday.csv", *range(8))
    first = night(layout)
    assert (case_id(first), first.template, first.model_name) == ("wards-20261125", "wards", "wards")
    assert failures(first) == sorted(f"2-{at}" for at in range(8))
    assert isinstance(night(layout), Skip)
    report("tuesday.csv", *range(4, 20))
    second = night(layout, date(2026, 11, 26))
    assert case_id(second) == "wards-20261126"
    assert set(failures(second)) == {f"2-{at}" for at in range(8, 20)}
    assert stored_spec(layout, "wards-20261126") == second
    assert isinstance(night(layout, date(2026, 11, 27)), Skip)
    report("thursday.csv", *range(30))
    assert set(failures(night(layout, date(2026, 11, 28)))) == {f"2-{at}" for at in range(20, 30)}


def test_a_second_case_of_a_day_has_a_name_of_its_own(layout):
    report("morning.csv", *range(8))
    night(layout)
    report("evening.csv", *range(8, 16))
    assert case_id(night(layout)) == "wards-20261125-2"


def test_too_few_failures_wait_for_more(layout):
    report("monday.csv", 1, 2, 3, 4, 5)
    assert "5 new failures wait, 6 are needed" in night(layout).reason
    report("tuesday.csv", 6)
    assert len(failures(night(layout))) == 6


def test_failures_of_a_night_that_failed_wait_for_the_next_report(layout):
    report("monday.csv", *range(8))
    night(layout, status="failed")
    assert "8 of a night that failed wait for the next report" in night(layout).reason  # it would fail again
    report("tuesday.csv", 8)
    assert len(failures(night(layout, date(2026, 11, 26)))) == 9


def test_a_file_that_grows_is_watched_like_a_folder(layout):
    report("all.csv", *range(6))
    add_template(layout, parse_spec(WARDS | {"nightly": {"failures": "incoming/all.csv"}}), Path.cwd())
    assert len(failures(night(layout))) == 6
    report("all.csv", *range(14))
    assert len(failures(night(layout, date(2026, 11, 26)))) == 8


def test_the_champion_is_the_base_and_its_patches_are_in_the_data(layout, monkeypatch):
    monkeypatch.setattr(nightly, "opened", lambda spec, layout: spec)
    report("monday.csv", *range(8))
    first = night(layout)
    assert (first.patches, first.model.weights) == (None, None)
    monkeypatch.setattr(nightly, "champion", lambda *args: Version(2, "wards-20261125"))
    report("tuesday.csv", *range(8, 16))
    second = night(layout, date(2026, 11, 26))
    assert (second.patches, second.model.weights) == (("wards-20261125",), "models:/wards@champion")
    assert second.base_id != first.base_id
    monkeypatch.setattr(nightly, "champion", lambda *args: Version(3, "wards-20261126"))
    report("wednesday.csv", *range(16, 24))
    third = night(layout, date(2026, 11, 27))
    assert third.patches == ("wards-20261125", "wards-20261126")
    # A roll-back takes the patches back too.
    monkeypatch.setattr(nightly, "champion", lambda *args: Version(1, None))
    report("thursday.csv", *range(24, 32))
    assert night(layout, date(2026, 11, 28)).patches is None


def test_a_champions_base_is_the_one_that_its_nights_share(layout, monkeypatch):
    monkeypatch.setattr(nightly, "opened", lambda spec, layout: spec)
    monkeypatch.setattr(nightly, "champion", lambda *args: Version(4, None))
    report("monday.csv", *range(8))
    early, late = make_base(layout, find_template(layout, "wards"), Version(4, None)), night(layout)
    assert case_id(early) == "wards-v4"
    assert early.base_id == late.base_id


def test_another_folders_template_is_not_replaced(layout, tmp_path):
    (tmp_path / "other" / "incoming").mkdir(parents=True)
    with pytest.raises(InputError, match=f"there is a template wards of {tmp_path} in this home"):
        add_template(layout, parse_spec(WARDS), tmp_path / "other")


def test_templates_are_kept_replaced_and_forgotten(layout):
    add_template(layout, parse_spec(WARDS | {"seed": 1}), Path.cwd())
    assert [(template.name, template.spec.seed) for template in templates(layout)] == [("wards", 1)]
    remove_template(layout, "wards")
    assert templates(layout) == []
    with pytest.raises(InputError, match="there is no template 'wards', there are none"):
        find_template(layout, "wards")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"nightly": None}, "has no nightly key"),
        ({"nightly": {"failures": "outgoing"}}, "'outgoing', which is not in"),
        ({"gate": None}, "needs a gate"),
        ({"failures": {"where": "label = 'sick'"}}, "leave failures out"),
        ({"model": {"name": "cnn"}}, "a model of your own"),
    ],
)
def test_what_cannot_be_a_template_is_refused(layout, change, says):
    with pytest.raises(InputError, match=says):
        add_template(layout, parse_spec(WARDS | change), Path.cwd())


def test_a_night_is_made_from_whatever_folder_it_is_asked_in(layout, monkeypatch, tmp_path):
    report("monday.csv", *range(8))
    monkeypatch.chdir(tmp_path / "incoming")
    spec = night(layout)
    assert (spec.root, spec.inputs.keys() >= {"dataset.train", "dataset.test"}) == (tmp_path, True)
    assert len(failures(spec)) == 8


def test_a_report_that_names_no_rows_is_refused(layout):
    pd.DataFrame({"x": [1.0]}).to_csv("incoming/odd.csv", index=False)
    with pytest.raises(InputError, match="has the columns x: a report names test rows by example_id or row"):
        night(layout)


@pytest.mark.parametrize("name", ["monday.csv", "monday.CSV", "monday.csv.gz", "monday.tsv", "monday.parquet"])
def test_a_report_is_a_table_of_any_kind(layout, name):
    rows = pd.DataFrame({"row": [f"2-{at}" for at in range(8)]})
    path = Path("incoming") / name
    rows.to_parquet(path) if path.suffix == ".parquet" else rows.to_csv(path, sep="\t" if "tsv" in name else ",")
    assert len(failures(night(layout))) == 8


def test_a_report_that_is_no_table_is_named(layout, caplog):
    report("monday.xlsx", *range(8))
    assert isinstance(night(layout), Skip)
    assert "monday.xlsx is not a .parquet, .csv, .tsv or .jsonl file, so it is not read" in caplog.text


def test_a_night_without_failures_and_hidden_files_report_nothing(layout):
    report("sunday.csv")
    Path("incoming/._sunday.csv").write_bytes(b"\xff\x00")
    assert isinstance(night(layout), Skip)
    pd.DataFrame({"row": [None, *(f"2-{at}" for at in range(8))]}).to_parquet("incoming/monday.parquet")
    assert len(failures(night(layout))) == 8


def test_ids_that_look_like_numbers_are_taken_once(layout):
    for name in ("train", "test"):
        rows = pd.read_parquet(f"{name}.parquet")
        rows["row"] = [f"{at + (name == 'test') * 1000:06d}" for at in range(len(rows))]
        rows.to_parquet(f"{name}.parquet", index=False)
    pd.DataFrame({"row": [f"{at:06d}" for at in range(1000, 1008)]}).to_csv("incoming/monday.csv", index=False)
    first = night(layout)
    assert Path(first.failures.reported).read_text().splitlines()[1].strip('"') == "001000"
    assert isinstance(night(layout), Skip)


def test_a_template_is_a_case_too(layout):
    spec = find_template(layout, "wards").spec
    assert case_id(spec) == f"wards-{spec.digest}"
    assert case_id(replace(spec, nightly=None)) == case_id(spec)
    assert replace(spec, nightly=None).base_id == spec.base_id


def test_the_list_has_the_last_cases_verdict_in_words(layout, monkeypatch):
    monkeypatch.setenv("REPAIR_HOME", str(layout.home))
    report("a.csv", *range(10))
    made = night(layout)
    rows = [{"failure_group": "all", "judge": "gate", "verdict": "not_a_data_problem"}]
    save_rows(layout.table("verdicts", made.name), "verdicts", rows, {})
    listed = CliRunner().invoke(app, ["nightly", "list"]).stdout
    assert "not a data problem" in listed
    assert "not_a" not in listed
