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


@pytest.mark.parametrize("text", TEXTS)
def test_the_name_of_a_progress_bar_is_literal(text):
    console = plain_console()
    bars = Progress(*COLUMNS, console=console, auto_refresh=False)
    bars.add_task(text, total=None)
    with console.capture() as captured:
        console.print(bars.get_renderable())
    assert text in captured.get()
