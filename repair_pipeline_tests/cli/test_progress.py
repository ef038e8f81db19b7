"""Progress bars and log lines of long steps."""

import io

from rich.console import Console
from rich.progress import Progress

from repair_pipeline import types
from repair_pipeline.cli.progress import StepBars
from repair_pipeline.compute.bars import COLUMNS, bar, show
from repair_pipeline.pipeline.steps import STEPS


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def bars(clock: Clock) -> tuple[Progress, Console]:
    console = Console(file=io.StringIO(), width=120, force_terminal=False)
    return Progress(*COLUMNS, console=console, get_time=clock, auto_refresh=False), console


def line(progress: Progress, console: Console) -> str:
    with console.capture() as captured:
        console.print(progress.get_renderable())
    return captured.get()


def test_a_bar_shows_count_total_rate_and_time_left():
    clock = Clock()
    progress, console = bars(clock)
    bar = progress.add_task("fisher_diagonal", total=None)
    for second in range(1, 6):
        clock.now = float(second)
        show(progress, bar, 10 * second, 100)
    shown = line(progress, console)
    assert "50/100" in shown
    assert "10.0 it/s" in shown
    assert "0:00:05" in shown


def test_a_bar_restarts_when_the_count_falls():
    clock = Clock()
    progress, _ = bars(clock)
    bar = progress.add_task("repaired_finetune", total=None)
    for done in (1, 2, 3):
        clock.now += 1.0
        show(progress, bar, done, 3)
    clock.now = 100.0
    show(progress, bar, 1, 50)
    [task] = progress.tasks
    assert (task.completed, task.total) == (1, 50)
    assert task.elapsed == 0.0
    assert task.finished_time is None


def test_a_log_gets_one_line_for_each_step():
    console = Console(file=(log := io.StringIO()), force_terminal=False)
    with StepBars(console)(STEPS[0]) as progress:
        progress(1, 2)
        progress(2, 2)
    [logged] = log.getvalue().splitlines()
    assert logged.startswith(STEPS[0].name)
    assert logged.endswith(" s")


def test_no_bar_without_a_terminal_or_in_a_notebook_without_ipywidgets(monkeypatch):
    monkeypatch.setattr("repair_pipeline.compute.bars.find_spec", lambda name: None)
    for kind in ({"force_terminal": False}, {"force_jupyter": True}):
        console = Console(file=io.StringIO(), **kind)
        with bar(console, "step") as progress:
            assert progress is types.silent
        assert console.file.getvalue() == ""
