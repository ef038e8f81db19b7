"""The log of decisions: nothing is lost, the last one counts, and it survives restarts."""

from datetime import UTC, datetime, timedelta

import pytest

from repair_pipeline.storage import decision_log
from repair_pipeline.storage.decision_log import Decision, DecisionLog
from repair_pipeline.storage.layout import Layout
from repair_pipeline.storage.views import query

DROP = {"decision": "drop", "label": None}


@pytest.fixture
def layout(tmp_path):
    return Layout(tmp_path)


def drop(*names):
    return [{"example_id": name, **DROP} for name in names]


def test_what_is_stored_is_read_by_the_next_process(layout):
    added = DecisionLog(layout, "one").add(
        [{"example_id": "a", "decision": "relabel", "label": "owl", "note": "x"}], "ada"
    )
    again = DecisionLog(layout, "one").read()
    assert again.entries == added
    assert again.latest["a"].label == "owl"
    assert DecisionLog(layout, "two").read().entries == []


def test_the_last_decision_about_a_row_counts_whoever_took_it(layout):
    ada, ben = DecisionLog(layout, "one"), DecisionLog(layout, "one")
    ada.add(drop("a", "b"), "ada")
    ben.read().add([{"example_id": "a", "decision": "keep", "label": None}], "ben")
    for log in (ada.read(), ben.read(), DecisionLog(layout, "one").read()):
        assert {name: (said.decision, said.who) for name, said in log.latest.items()} == {
            "a": ("keep", "ben"),
            "b": ("drop", "ada"),
        }


def test_two_writers_lose_nothing(layout):
    logs = [DecisionLog(layout, "one"), DecisionLog(layout, "one")]
    for turn in range(20):
        for number, log in enumerate(logs):
            log.add(drop(f"{number}-{turn}"), str(number))
    assert len(DecisionLog(layout, "one").read().latest) == 40
    assert len(logs[0].read().latest) == 40


def test_a_writer_begins_another_file_when_one_is_full(layout, monkeypatch):
    monkeypatch.setattr(decision_log, "_FULL", 3)
    log = DecisionLog(layout, "one")
    for number in range(7):
        log.add(drop(str(number)), "ada")
    assert len(list(log.folder.glob("*.parquet"))) == 3
    assert [said.example_id for said in DecisionLog(layout, "one").read().entries] == list("0123456")


def test_what_is_read_twice_is_there_once(layout):
    writer, reader = DecisionLog(layout, "one"), DecisionLog(layout, "one")
    for number in range(4):
        writer.add(drop(str(number)), "ada")
        reader.read().read()
    assert len(reader.entries) == 4
    assert len(writer.read().entries) == 4


def test_a_clock_that_is_ahead_does_not_win_for_ever(layout):
    log = DecisionLog(layout, "one")
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    log.store([Decision("a", "drop", None, "ahead", tomorrow)])
    DecisionLog(layout, "one").read().add([{"example_id": "a", "decision": "keep", "label": None}], "ada")
    assert log.read().latest["a"].decision == "keep"


def test_decisions_of_one_call_keep_their_order(layout):
    log = DecisionLog(layout, "one")
    log.add([*drop("a"), {"example_id": "a", "decision": "keep", "label": None}], "ada")
    assert DecisionLog(layout, "one").read().latest["a"].decision == "keep"


def test_decisions_are_asked_with_sql(layout):
    log = DecisionLog(layout, "one")
    log.add(drop("a"), "ada")
    log.add([{"example_id": "a", "decision": "undecided", "label": None, "note": "sorry"}], "ben")
    sql = "SELECT case_id, example_id, decision, label, who, note FROM decisions ORDER BY decided_at"
    assert [tuple(row.values()) for row in query(layout, sql).to_pylist()] == [
        ("one", "a", "drop", None, "ada", ""),
        ("one", "a", "undecided", None, "ben", "sorry"),
    ]
