"""SQL queries over the views."""

import pyarrow as pa
import pytest

from repair_pipeline.errors import InputError
from repair_pipeline.storage.files import write_parquet
from repair_pipeline.storage.layout import Layout
from repair_pipeline.storage.records import save_rows
from repair_pipeline.storage.schemas import TABLES
from repair_pipeline.storage.views import holds, query

CONTRACT = {
    "cases": "case_id base_id dataset model corruption seed query_fraction spec fingerprint status created_at",
    "examples": "case_id example_id split label clean_label label_value clean_label_value label_text corrupted "
    "label_changed failure_group",
    "influence": "case_id failure_group method example_id influence rank probability",
    "detection": "case_id failure_group method auc average_precision precision_at_n n_corrupted n_causes precision "
    "recall converged seconds",
    "detection_curve": "case_id failure_group method inspected found",
    "recovery": "case_id failure_group influence_method treatment setting gamma removed chosen query_accuracy "
    "holdout_accuracy remaining_accuracy unseen_accuracy measure holdout_measure remaining_measure "
    "unseen_measure seconds",
    "candidates": "case_id failure_group pool influence_method treatment removed tuning_accuracy tuning_probability "
    "guard_accuracy chosen epochs",
    "groups": "case_id failure_group predicate rows failures query query_tuning holdout",
    "cross_harm": "case_id failure_group influence_method treatment affected_group holdout_accuracy "
    "remaining_accuracy holdout remaining",
    "verdicts": "case_id failure_group judge pool influence_method treatment removed verdict reason p_value holdout "
    "reused fixed "
    "broken gain gain_low gain_high over_control over_control_low over_control_high detectable failures_needed "
    "remaining_change remaining_low margin worst_class worst_class_change class_margin unjudged "
    "without_doubtful",
    "doubtful_tests": "case_id example_id split failed reason training_row closeness label likelier_label probability",
    "judged_models": "case_id failure_group weights file base compared_with verdict reason holdout reused fixed broken "
    "gain gain_low gain_high over_control over_control_low over_control_high detectable failures_needed "
    "remaining_change remaining_low margin worst_class worst_class_change class_margin unjudged judged_at",
    "patch": "case_id failure_group example_id action influence rank label suggested_label failures reason probability "
    "suggestion_probability",
    "patch_verdicts": "case_id verdict reason trainings dropped relabelled as_is patched true_labels difference "
    "difference_low difference_high holdout remaining",
    "attribution": "study data measure method query_set value low high queries trainings",
    "decisions": "case_id example_id decision label who decided_at note",
    "applied": "case_id failure_group example_id decision label source reviewer decided_at",
    "pairs": "case_id failure_group failure_id example_id influence rank",
    "holdout_reads": "case_id failure_group example_id tests content model read_at",
    "timings": "case_id method step seconds device threads",
}


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    """A store of two cases and two methods, with a secret beside it."""
    home = tmp_path_factory.mktemp("home")
    layout = Layout(home)
    for number, case in enumerate(("one", "two")):
        for method, sign in (("ewc", 1), ("loss", -1)):
            rows = [
                {"failure_group": "all", "example_id": f"z{at}", "influence": sign * (at + number / 2), "rank": 3 - at}
                for at in range(3)
            ]
            save_rows(layout.influence(case, method), "influence", rows, {})
        rows = [
            {"example_id": f"z{at}", "split": "fit", "label": at, "clean_label": at, "corrupted": at == 2}
            for at in range(3)
        ]
        save_rows(layout.table("examples", case), "examples", rows, {})
    write_parquet(home / "secret.parquet", pa.table({"secret": [1]}), {})
    (home / "secret.csv").write_text("secret\n1\n")
    return layout


def test_the_views_are_the_contracts():
    assert {name: schema.names for name, schema in TABLES.items()} == {
        name: columns.split() for name, columns in CONTRACT.items()
    }


def test_every_column_has_a_description():
    assert all(field.metadata[b"description"] for schema in TABLES.values() for field in schema)


@pytest.mark.parametrize("name", TABLES)
def test_an_empty_store_gives_empty_views(tmp_path, name):
    answer = query(Layout(tmp_path / "nothing"), f"SELECT * FROM {name}")
    assert answer.schema.names == TABLES[name].names
    assert len(answer) == 0
    assert list(tmp_path.iterdir()) == []


def test_case_and_method_come_from_the_path(layout):
    answer = query(layout, "SELECT DISTINCT case_id, method FROM influence ORDER BY ALL")
    assert [tuple(row.values()) for row in answer.to_pylist()] == [
        ("one", "ewc"),
        ("one", "loss"),
        ("two", "ewc"),
        ("two", "loss"),
    ]


def test_an_incomplete_file_is_not_read(layout):
    hidden = layout.influence("one", "ewc").with_name(".influence.parquet-x")
    hidden.write_bytes(b"half")
    assert query(layout, "SELECT count(*) AS n FROM influence").to_pylist() == [{"n": 12}]


ORDINARY = {
    "join": (
        "SELECT e.corrupted, i.influence FROM influence i JOIN examples e USING (case_id, example_id) "
        "WHERE case_id = 'one' AND method = 'ewc' AND corrupted",
        [{"corrupted": True, "influence": 2.0}],
    ),
    "common table expression": (
        "WITH worst AS (SELECT * FROM influence WHERE rank = 1) SELECT count(*) AS n FROM worst",
        [{"n": 4}],
    ),
    "recursion": (
        "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 4) SELECT sum(n) AS n FROM t",
        [{"n": 10}],
    ),
    "window": (
        "SELECT method, influence FROM (SELECT *, row_number() OVER (PARTITION BY method ORDER BY influence DESC) AS r "
        "FROM influence WHERE case_id = 'two') WHERE r = 1 ORDER BY method",
        [{"method": "ewc", "influence": 2.5}, {"method": "loss", "influence": -0.5}],
    ),
    "subquery": (
        "SELECT max(rank) AS r FROM influence WHERE example_id IN (SELECT example_id FROM examples WHERE corrupted)",
        [{"r": 1}],
    ),
    "union": ("SELECT 1 AS n UNION ALL SELECT count(*) FROM cases ORDER BY n", [{"n": 0}, {"n": 1}]),
    "from first": ("FROM examples SELECT count(*) AS n", [{"n": 6}]),
    "series": ("SELECT sum(range) AS n FROM range(4)", [{"n": 6}]),
    "comment and semicolon": ("-- how many\nSELECT count(*) AS n FROM examples;", [{"n": 6}]),
    "a view's name reused": ("WITH cases AS (SELECT 7 AS n) SELECT n FROM cases", [{"n": 7}]),
}


@pytest.mark.parametrize(("sql", "answer"), ORDINARY.values(), ids=ORDINARY)
def test_ordinary_queries_are_answered(layout, sql, answer):
    assert query(layout, sql).to_pylist() == answer


REFUSED = [
    "",
    ";",
    "SELEC 1",
    "SELECT 1; SELECT 2",
    "SELECT 1; DROP VIEW cases",
    "COPY cases TO '{home}/out.csv'",
    "COPY (SELECT 1) TO '{home}/out.parquet'",
    "ATTACH '{home}/other.db'",
    "CREATE TABLE t AS SELECT 1",
    "CREATE OR REPLACE VIEW cases AS SELECT 1",
    "DROP VIEW cases",
    "PRAGMA database_list",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET threads = 1",
    "SET enable_external_access = true",
    "RESET threads",
    "INSERT INTO cases VALUES (1)",
    "UPDATE cases SET seed = 1",
    "DELETE FROM cases",
    "EXPLAIN SELECT 1",
    "CALL pragma_version()",
    "PREPARE p AS SELECT 1",
    "EXPORT DATABASE '{home}/out'",
    "CHECKPOINT",
    "USE memory",
    "DESCRIBE cases",
    "SHOW TABLES",
    "SUMMARIZE cases",
    "SELECT * FROM (DESCRIBE cases)",
    "PIVOT cases ON dataset USING count(*)",
    "SELECT * FROM read_csv('{home}/secret.csv')",
    "SELECT * FROM read_csv_auto('{home}/secret.csv')",
    "SELECT * FROM read_parquet('{home}/secret.parquet')",
    "SELECT * FROM parquet_scan('{home}/secret.parquet')",
    "SELECT * FROM read_text('{home}/secret.csv')",
    "SELECT * FROM read_blob('{home}/secret.csv')",
    "SELECT * FROM read_json('{home}/secret.csv')",
    "SELECT * FROM sniff_csv('{home}/secret.csv')",
    "SELECT * FROM parquet_metadata('{home}/secret.parquet')",
    "SELECT * FROM glob('{home}/*')",
    "SELECT * FROM query('SELECT 1')",
    "SELECT * FROM query_table('cases')",
    "SELECT * FROM json_execute_serialized_sql(json_serialize_sql('SELECT 1'))",
    "SELECT * FROM '{home}/secret.parquet'",
    'SELECT * FROM "{home}/secret.csv"',
    "FROM '{home}/secret.csv'",
    "SELECT * FROM 'https://example.com/secret.parquet'",
    "SELECT * FROM information_schema.tables",
    "SELECT * FROM pg_catalog.pg_tables",
    "SELECT * FROM main.cases",
    "SELECT * FROM duckdb_settings()",
    "SELECT * FROM duckdb_tables",
    "SELECT * FROM duckdb_secrets()",
    "SELECT * FROM sqlite_master",
    "SELECT * FROM nowhere",
    "SELECT * FROM layout",
    "SELECT ?",
    "SELECT (SELECT content FROM read_text('{home}/secret.csv'))",
    "SELECT * FROM cases WHERE EXISTS (SELECT 1 FROM glob('{home}/*'))",
    "SELECT * FROM cases ORDER BY (SELECT count(*) FROM read_text('{home}/secret.csv'))",
    "SELECT * FROM cases LIMIT (SELECT count(*) FROM read_text('{home}/secret.csv'))",
    "SELECT 1 WHERE 1 IN (SELECT secret FROM '{home}/secret.parquet')",
    "SELECT 1 UNION ALL SELECT secret FROM '{home}/secret.parquet'",
    "SELECT * FROM cases c JOIN '{home}/secret.parquet' s ON true",
    "SELECT * FROM cases, LATERAL (SELECT * FROM read_csv('{home}/secret.csv')) t",
    "WITH s AS (SELECT * FROM read_csv('{home}/secret.csv')) SELECT * FROM s",
    "WITH s AS (SELECT * FROM '{home}/secret.csv') SELECT 1",
    'SELECT * FROM (WITH "{home}/secret.csv" AS (SELECT 1) SELECT 1) t, "{home}/secret.csv"',
    "WITH s AS (INSERT INTO cases VALUES (1) RETURNING *) SELECT * FROM s",
]


@pytest.mark.parametrize("sql", REFUSED)
def test_anything_but_one_select_over_the_views_is_refused_in_one_line(layout, sql):
    before = sorted(layout.home.rglob("*"))
    with pytest.raises(InputError) as refused:
        query(layout, sql.format(home=layout.home))
    assert str(refused.value).startswith(("the query", "there is no view"))
    assert len(str(refused.value).splitlines()) == 1
    assert sorted(layout.home.rglob("*")) == before


def test_user_columns_are_columns_of_examples(tmp_path):
    layout = Layout(tmp_path)
    for case, hour in (("one", pa.array([7])), ("two", pa.array(["late"]))):
        table = pa.table({"example_id": ["z"], "split": ["fit"], "hour": hour, "scanner": ["B"]})
        write_parquet(layout.table("examples", case), table, {})
    rows = query(layout, "SELECT case_id, hour, scanner, corrupted FROM examples ORDER BY case_id").to_pylist()
    assert [tuple(row.values()) for row in rows] == [("one", "7", "B", None), ("two", "late", "B", None)]


def test_spellings_of_a_column_in_different_cases_are_merged(tmp_path):
    layout = Layout(tmp_path)
    for case, own in (("one", {"Site": ["A"]}), ("two", {"site": ["B"]}), ("three", {"SITE": [3]})):
        write_parquet(layout.table("examples", case), pa.table({"example_id": ["z"], **own}), {})
    rows = query(layout, "SELECT case_id, site FROM examples ORDER BY case_id")
    assert [tuple(row.values()) for row in rows.to_pylist()] == [("one", "A"), ("three", "3"), ("two", "B")]
    assert query(layout, "SELECT * FROM examples").column_names == [*TABLES["examples"].names, "Site"]


def test_columns_of_one_case_that_sql_treats_as_equal_get_numbers(tmp_path):
    layout = Layout(tmp_path)
    table = pa.table({"example_id": ["z"], "A": [1], "a": [2], "a_1": [3], "Split": ["hers"], "split": ["fit"]})
    write_parquet(layout.table("examples", "one"), table, {})
    rows = query(layout, "SELECT split, A_1_, a_2, a_1, split_1 FROM examples")
    assert rows.to_pylist() == [{"split": "fit", "A_1_": 1, "a_2": 2, "a_1": 3, "Split_1": "hers"}]
    with pytest.raises(InputError, match=r'"a" not found.*"a_2"'):
        query(layout, "SELECT a FROM examples")


ROWS = pa.table({"label": ["cat", "dog", "cat"], "hour": [3, 12, 23]})


@pytest.mark.parametrize(
    ("predicate", "held"),
    [
        ("label = 'cat' AND hour < 6", [True, False, False]),
        ("hour > 6 -- by day", [False, True, True]),
        ("false", [False, False, False]),
        ("hour = (SELECT max(hour) FROM examples)", [False, False, True]),
    ],
)
def test_a_predicate_holds_for_its_rows(predicate, held):
    assert holds(ROWS, predicate, "failures.where") == held


@pytest.mark.parametrize(
    "predicate",
    [
        "colour = 1",
        "label IN (SELECT * FROM read_csv('x'))",
        "true; DROP TABLE x",
        "",
    ],
)
def test_an_invalid_predicate_is_refused(predicate):
    with pytest.raises(InputError, match=r"failures\.where is .*columns: label, hour"):
        holds(ROWS, predicate, "failures.where")


INTERNAL_NAMES = (
    "row_number",
    "ROW_NUMBER",
    "number",
    "number_",
    "examples",
    "rowid",
    "range",
    'a "quoted". name',
    "select",
)


@pytest.mark.parametrize("name", INTERNAL_NAMES)
def test_user_columns_may_have_any_name_in_a_predicate(name):
    rows = pa.table({name: [9, 1, 0, 9], "site": ["A", "B", "B", "A"]})
    column = '"' + name.replace('"', '""') + '"'
    assert holds(rows, "site = 'B'", "failures.where") == [False, True, True, False]
    assert holds(rows, f"{column} = 9", "failures.where") == [True, False, False, True]
    assert holds(rows, f"site IN (SELECT site FROM examples WHERE {column} = 1)", "k") == [False, True, True, False]


def test_a_predicate_over_all_columns_sees_user_columns_only():
    rows = pa.table({"x": [1, 0, 2], "row_number": [3, 3, 0]})
    assert holds(rows, "COLUMNS(*) > 0", "failures.where") == [True, False, False]
    assert holds(rows, "x > (SELECT avg(x) FROM examples e WHERE e.row_number = examples.row_number)", "k") == [
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("name", ["row_number", "number", "rowid"])
def test_an_internal_name_is_not_a_column(name):
    with pytest.raises(InputError, match="not found"):
        holds(ROWS, f"{name} = 1", "failures.where")


def test_columns_that_differ_only_in_case_need_their_numbers_in_a_predicate():
    rows = pa.table({"A": [1, 2], "a": [2, 1], "b": [1, 2]})
    assert holds(rows, "b = 2", "failures.where") == [False, True]
    assert holds(rows, "a_2 = 2", "failures.where") == [True, False]
    with pytest.raises(InputError, match=r"columns: A_1, a_2, b; SQL ignores case"):
        holds(rows, "a = 2", "failures.where")
