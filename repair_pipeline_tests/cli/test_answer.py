"""The answer to a query: every value under its own header, printed literally."""

import json

import pyarrow as pa
import pytest

from repair_pipeline.cli.answer import print_answer
from repair_pipeline.errors import InputError

DUPLICATED = pa.table([["a", None], ["b", "d"], [3, 4]], names=["x", "x", "y"])


def test_csv_has_every_column_of_an_answer_with_a_duplicated_name(capsys):
    print_answer(DUPLICATED, "csv")
    assert capsys.readouterr().out == "x,x,y\na,b,3\n,d,4\n"


def test_a_table_has_every_column_of_an_answer_with_a_duplicated_name(capsys):
    print_answer(DUPLICATED, "table")
    lines = [line.strip("│┃").replace("┃", "│").split("│") for line in capsys.readouterr().out.splitlines()]
    rows = [[cell.strip() for cell in line] for line in lines if len(line) == 3]
    assert rows == [["x", "x", "y"], ["a", "b", "3"], ["", "d", "4"]]


def test_json_refuses_a_duplicated_name(capsys):
    with pytest.raises(InputError, match=r"2 columns of the answer are named 'x'.*x AS x_2"):
        print_answer(DUPLICATED, "json")
    assert capsys.readouterr().out == ""
    print_answer(pa.table({"x": [1], "X": [2]}), "json")
    assert json.loads(capsys.readouterr().out) == [{"x": 1, "X": 2}]


@pytest.mark.parametrize("form", ["csv", "json", "table"])
def test_an_answer_without_rows_has_its_header(capsys, form):
    print_answer(DUPLICATED.select([0, 2]).slice(0, 0), form)
    assert capsys.readouterr().out.split() in (["x,y"], ["[]"]) or form == "table"


@pytest.mark.parametrize("text", ["[red]x[/red]", "ok [/b]", "[INST] hi [/INST]", "[unk]", ":smile:", r"\[bold]", "[["])
def test_markup_is_printed_literally(capsys, text):
    print_answer(pa.table({text: [text]}), "table")
    assert capsys.readouterr().out.count(text) == 2
