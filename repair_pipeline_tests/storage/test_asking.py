"""Hostile and careless queries end within their limits, in one line, and take nothing with them."""

import pyarrow as pa
import pytest

from repair_pipeline.errors import InputError
from repair_pipeline.settings import variable
from repair_pipeline.storage.asking import ask, ask_rows
from repair_pipeline.storage.layout import Layout
from repair_pipeline.storage.records import save_rows


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    layout = Layout(tmp_path_factory.mktemp("home"))
    rows = [{"example_id": f"z{at}", "split": "fit", "label": at} for at in range(3)]
    save_rows(layout.table("examples", "one"), "examples", rows, {})
    return layout


@pytest.fixture(autouse=True)
def _limits(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # nothing may be written there
    for name, value in {"query_memory_mb": 300, "query_seconds": 120, "query_rows": 1000}.items():
        monkeypatch.setenv(variable(name), str(value))


def test_an_ordinary_query_is_answered_with_its_types_and_repeated_names(layout):
    answer = ask(layout, "SELECT case_id, label, label AS label, 1.5 AS x FROM examples ORDER BY label")
    assert answer.column_names == ["case_id", "label", "label", "x"]
    assert answer.column(1).to_pylist() == answer.column(2).to_pylist() == [0, 1, 2]
    assert answer.column(0).to_pylist() == ["one"] * 3


def test_the_limit_of_rows_is_inclusive(layout):
    assert len(ask(layout, "SELECT * FROM range(1000)")) == 1000
    with pytest.raises(InputError, match=r"^the query fails: its answer has more than 1000 rows: add LIMIT, or raise"):
        ask(layout, "SELECT * FROM range(1001)")


def joined(tables: int) -> str:
    return "SELECT 1 FROM range(1) t0 " + " ".join(f"JOIN range(1) t{at} ON true" for at in range(1, tables))


TIME, MEMORY, ROWS, DEPTH = "query_seconds", "query_memory_mb", "query_rows", "nested too deeply"
LIMIT = f"{TIME}|{MEMORY}"  # whichever is reached first

HOSTILE = {
    "recursion without end": (
        "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t",
        TIME,
    ),
    "recursion that grows": (
        "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t, range(10)) SELECT count(*) FROM t",
        MEMORY,
    ),
    "cross join of ranges": (
        "SELECT count(*) FROM range(1000000) a, range(1000000) b, range(9) c WHERE a.range + b.range + c.range = 7",
        TIME,
    ),
    "a text of 4 GB": ("SELECT repeat('x', 4000000000)", MEMORY),
    "the length of a text of 4 GB": ("SELECT length(repeat('x', 4000000000))", MEMORY),
    "many long texts": ("SELECT repeat('x', 3000000) FROM range(900)", MEMORY),
    "a padded text": ("SELECT lpad('x', 2000000000, 'y')", TIME),
    "long lists": ("SELECT range(100000000) FROM range(900)", MEMORY),
    "rows without end": ("SELECT * FROM range(100000000000)", ROWS),
    "a plan that takes minutes": (joined(400), TIME),
    "brackets": ("SELECT " + "(" * 2000 + "1" + ")" * 2000, DEPTH),
    "negations": ("SELECT " + "NOT " * 5000 + "true", DEPTH),
    "a long sum": ("SELECT 1" + " + 1" * 5000, DEPTH),
    "subqueries": ("SELECT * FROM " + "(SELECT * FROM " * 2000 + "examples" + ")" * 2000, DEPTH),
}


@pytest.mark.parametrize(("sql", "says"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_query_ends_in_one_line_within_its_limits(layout, tmp_path, monkeypatch, sql, says):
    if says == TIME:
        monkeypatch.setenv(variable("query_seconds"), "2")
    with pytest.raises(InputError, match=says) as refused:
        ask(layout, sql)
    assert str(refused.value).startswith("the query fails: ")
    assert len(str(refused.value).splitlines()) == 1
    assert len(str(refused.value)) < 400
    assert list(tmp_path.iterdir()) == []


ROWS_OF = pa.table({"label": ["cat", "dog", "cat"], "hour": [3, 12, 23]})


def test_a_predicate_is_within_the_same_limits():
    assert ask_rows(ROWS_OF, "label = 'cat' AND hour < 6", "failures.where") == [True, False, False]


@pytest.mark.parametrize(
    ("predicate", "says"),
    [
        (
            "hour IN (SELECT a.range FROM range(100000000) a, range(100000000) b WHERE a.range + b.range = -1)",
            f"{TIME}|{MEMORY}",
        ),
        ("length(repeat('x', 4000000000)) > hour", MEMORY),
        ("(" * 2000 + "true" + ")" * 2000, DEPTH),
        ("colour = 1", "columns: label, hour"),
    ],
)
def test_a_hostile_predicate_names_its_key_in_one_line(monkeypatch, predicate, says):
    if TIME in says:
        monkeypatch.setenv(variable("query_seconds"), "2")
    with pytest.raises(InputError, match=says) as refused:
        ask_rows(ROWS_OF, predicate, "groups.night")
    assert str(refused.value).startswith("groups.night is ")
    assert len(str(refused.value)) < 600


def test_a_predicate_may_have_more_rows_than_an_answer():
    rows = pa.table({"hour": list(range(3000))})
    assert sum(ask_rows(rows, "hour < 2500", "failures.where")) == 2500


def test_what_lies_in_the_current_folder_is_not_imported(layout, tmp_path):
    (tmp_path / "duckdb.py").write_text("raise SystemExit('imported')")
    assert ask(layout, "SELECT 1 AS x").to_pylist() == [{"x": 1}]
