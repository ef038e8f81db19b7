"""Text that looks like markup is printed literally."""

import pytest
from rich.progress import Progress
from rich.table import Table

from repair_pipeline.cli.console import plain_console
from repair_pipeline.compute.bars import COLUMNS

TEXTS = ("[red]x[/red]", "ok [/b]", "[INST] hi [/INST]", "[unk]", ":smile:", "[link=x]", r"a\[b]", "[@click=a]x")


@pytest.mark.parametrize("text", TEXTS)
def test_lines_titles_headers_and_cells_are_literal(capsys, text):
    table = Table(text, title=text)
    table.add_row(text)
    plain_console().print(table)
    plain_console().print(f"case {text}")
    assert capsys.readouterr().out.count(text) == 4


def test_control_characters_are_escaped_and_lines_stay_lines(capsys):
    table = Table("a\x1b]0;x\x07", title="b\x1b[2J")
    table.add_row("c\x1b[1A\r", "d\ne\u202e")
    plain_console().print(table)
    plain_console().print("f\x9bg\n")
    shown = capsys.readouterr().out
    for text in (r"a\x1b]0;x\x07", r"b\x1b[2J", r"c\x1b[1A\r", "d", r"e\u202e", r"f\x9bg"):
        assert text in shown
    assert all(letter.isprintable() or letter == "\n" for letter in shown)


@pytest.mark.parametrize("text", TEXTS)
def test_the_name_of_a_progress_bar_is_literal(text):
    console = plain_console()
    bars = Progress(*COLUMNS, console=console, auto_refresh=False)
    bars.add_task(text, total=None)
    with console.capture() as captured:
        console.print(bars.get_renderable())
    assert text in captured.get()
