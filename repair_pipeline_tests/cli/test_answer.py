"""The answer to a query: every value under its own header, printed literally."""

import errno
import json
import os

import pyarrow as pa
import pytest
import typer

from repair_pipeline.cli.answer import print_answer
from repair_pipeline.cli.errors import one_line
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


HOSTILE = pa.table({"x\x1b]0;title\x07": ["\x1b[2J\x9b31mred", "\u202egnp.exe", "two\nlines", "caf\u00e9"]})


def test_a_terminal_obeys_no_value_and_no_name(capsys):
    shown = {}
    for form in ("table", "csv", "json"):
        print_answer(HOSTILE, form)
        shown[form] = capsys.readouterr().out
        assert not set(shown[form]) & set("\x1b\x07\x9b\u202e")
    assert "\\x1b[2J\\x9b31mred" in shown["csv"]
    assert "\\x1b[2J\\x9b31mred" in shown["table"]
    assert "two\\nlines" in shown["table"]
    assert '"two\nlines"\ncaf\u00e9\n' in shown["csv"]
    assert [next(iter(row.values())) for row in json.loads(shown["json"])] == HOSTILE.column(0).to_pylist()


def test_a_terminal_obeys_no_message(capsys):
    with pytest.raises(typer.Exit), one_line():
        raise InputError("Could not convert string '\x1b[2J\r' to INT64")
    assert capsys.readouterr().err == "repair: Could not convert string '\\x1b[2J\\r' to INT64\n"


def test_a_full_disk_is_one_line_and_exit_code_2(capsys):
    with pytest.raises(typer.Exit) as ended, one_line():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/home/results")
    assert ended.value.exit_code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("repair: no room is left on the disk ([Errno 28] No space left on device: '/home/results')")


def test_other_errors_pass():
    with pytest.raises(ZeroDivisionError), one_line():
        raise ZeroDivisionError
