"""Rows go to annotation tools, and decisions come back as they were."""

import csv
import io
import json
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from repair_pipeline.datasets.user_data import UserData, read
from repair_pipeline.errors import InputError
from repair_pipeline.reporting.review.exchange import FORMATS, hand_over, take_back
from repair_pipeline.storage.decision_log import Decision
from repair_pipeline_tests.reporting.review.sheets import CLASSES, EVIL, PATCHED, desk

WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SAID = [
    Decision("r00000", "drop", None, "ada", WHEN),
    Decision("r00001", "relabel", "owl", "ben", WHEN, 'a "note", with\na second line'),
    Decision("r00002", "keep", None, "ada", WHEN),
    Decision("r00020", "unsure", None, "ada", WHEN),
]


@pytest.mark.parametrize("kind", ["images", "text", "features"])
@pytest.mark.parametrize("name", FORMATS)
def test_decisions_come_back_as_they_were(tmp_path, name, kind):
    here, elsewhere = desk(tmp_path / "a", kind=kind), desk(tmp_path / "b", kind=kind)
    here.log.store(SAID)
    here.log.add([{"example_id": "r00003", "decision": "undecided", "label": None}], "ada")
    path = tmp_path / "handed-over.json"
    assert hand_over(here, name, path) == (PATCHED + 1, len(SAID))
    assert take_back(elsewhere, name, path) == (len(SAID), 0)
    assert elsewhere.log.latest == {said.example_id: said for said in SAID}
    assert take_back(elsewhere, name, path) == (0, len(SAID))
    assert take_back(here, name, path) == (0, len(SAID))


@pytest.mark.parametrize("name", FORMATS)
def test_rows_of_another_case_are_refused(tmp_path, name):
    here, small = desk(tmp_path / "a", 30), desk(tmp_path / "b", 12)
    here.log.store(SAID)
    hand_over(here, name, tmp_path / "x")
    with pytest.raises(InputError, match=r"names 1 rows that are none of case made-up.*r00020"):
        take_back(small, name, tmp_path / "x")
    assert small.log.read().entries == []


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_that_is_not_there_or_something_else_is_refused(tmp_path, name):
    (tmp_path / "other").write_text("not this")
    (tmp_path / "folder").mkdir()
    for path in ("nowhere", "other", "folder"):
        with pytest.raises(InputError, match="give"):
            take_back(desk(tmp_path), name, tmp_path / path)


def test_unknown_formats_are_refused(tmp_path):
    with pytest.raises(InputError, match="label-studio, fiftyone, cleanlab, decisions, huggingface"):
        hand_over(desk(tmp_path), "excel", tmp_path / "x")


def test_label_studio_gets_tasks_with_predictions_and_an_interface(tmp_path):
    hand_over(desk(tmp_path), "label-studio", tmp_path / "tasks.json")
    task = json.loads((tmp_path / "tasks.json").read_text())[0]
    assert task["data"]["input"].startswith("data:image/png;base64,")
    [predicted] = task["predictions"]
    assert predicted["result"][0]["value"] == {"choices": ["dog"]}
    interface = (tmp_path / "tasks.xml").read_text()
    assert '<Image name="input" value="$input"/>' in interface
    assert '<Choice value="owl"/>' in interface


def test_what_label_studio_exports_is_read(tmp_path):
    def choice(name, value):
        return {"from_name": name, "to_name": "input", "type": "choices", "value": {"choices": [value]}}

    def task(name, *annotations):
        data = {"example_id": name, "given_label": CLASSES[int(name[1:]) % 3]}
        return {"id": 7, "data": data, "annotations": list(annotations)}

    cancelled = {"result": [choice("decision", "drop")], "was_cancelled": True, "completed_by": 1}
    early = {"result": [choice("decision", "drop")], "updated_at": "2026-01-01T00:00:00.5Z", "completed_by": 1}
    late = {
        "result": [choice("label", "owl")],
        "updated_at": "2026-01-02T00:00:00Z",
        "completed_by": {"id": 2, "email": "ada@example.org"},
    }
    same = {"result": [choice("label", "owl")], "updated_at": "2026-01-02T00:00:00Z", "completed_by": 3}
    tasks = [task("r00000", early, late), task("r00001", cancelled), task("r00002", same), task("r00003")]
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    review = desk(tmp_path)
    assert take_back(review, "label-studio", tmp_path / "export.json") == (2, 0)
    first, third = (review.log.latest[name] for name in ("r00000", "r00002"))
    assert (first.decision, first.label, first.who) == ("relabel", "owl", "ada@example.org")
    assert first.decided_at == datetime(2026, 1, 2, tzinfo=UTC)
    assert (third.decision, third.label, third.who) == ("keep", None, "annotator 3")  # its given label is owl


def test_tags_and_edited_labels_of_fiftyone_are_decisions(tmp_path):
    hand_over(desk(tmp_path), "fiftyone", tmp_path / "fo")
    path = tmp_path / "fo" / "samples.json"
    content = json.loads(path.read_text())
    assert (tmp_path / "fo" / content["samples"][0]["filepath"]).is_file()
    content["samples"][0]["tags"] = ["drop", "seen"]
    content["samples"][1]["ground_truth"]["label"] = "owl"
    path.write_text(json.dumps({"samples": content["samples"][:3]}))
    review = desk(tmp_path)
    take_back(review, "fiftyone", tmp_path / "fo")
    said = {name: (of.decision, of.label) for name, of in review.log.latest.items()}
    assert said == {"r00000": ("drop", None), "r00001": ("relabel", "owl")}
    assert take_back(review, "fiftyone", tmp_path / "fo") == (0, 2)  # though they come without a time


def test_cleanlab_gets_the_columns_of_datalab(tmp_path):
    hand_over(desk(tmp_path), "cleanlab", tmp_path / "issues.csv")
    lines = list(csv.DictReader(io.StringIO((tmp_path / "issues.csv").read_text())))
    assert list(lines[0])[:5] == ["example_id", "is_label_issue", "label_score", "given_label", "predicted_label"]
    assert lines[0]["is_label_issue"] == "True"
    assert float(lines[0]["label_score"]) == pytest.approx(0.1)
    assert take_back(desk(tmp_path), "cleanlab", tmp_path / "issues.csv") == (0, 0)


def test_hugging_face_gets_a_folder_whose_classes_and_images_are_readable(tmp_path):
    """An oracle: the reader of owners' data, which reads Hugging Face's Parquet files."""
    hand_over(desk(tmp_path), "huggingface", tmp_path / "hf")
    [file] = (tmp_path / "hf").rglob("*.parquet")
    spec = UserData(train=str(file), test=str(file), id=None, metadata=("decision",))
    found = read(spec, tmp_path)
    assert found.classes == ("cat", "dog", "owl")
    assert found.train.labels.tolist() == [at % 3 for at in range(PATCHED)]
    pixel = Image.open(io.BytesIO(pq.read_table(file)["image"][9].as_py()["bytes"]))
    assert np.asarray(pixel).mean() == pytest.approx(255 * 9 / 29, abs=1)
    assert pa.types.is_string(pq.read_schema(file).field("decision").type)


@pytest.mark.parametrize(("decision", "label"), [("explode", ""), ("relabel", "cow"), ("relabel", "")])
def test_what_cannot_be_used_is_refused_whole(tmp_path, decision, label):
    file = tmp_path / "x.csv"
    file.write_text(f"example_id,decision,new_label\nr00000,drop,\nr00001,{decision},{label}\n")
    review = desk(tmp_path)
    with pytest.raises(InputError, match=r"r00001.*(write|use) one of"):
        take_back(review, "cleanlab", file)
    assert review.log.read().entries == []


def test_text_is_written_as_it_is(tmp_path):
    hand_over(desk(tmp_path, kind="text"), "label-studio", tmp_path / "t.json")
    assert json.loads((tmp_path / "t.json").read_text())[0]["data"]["input"] == f"{EVIL} number 0"
