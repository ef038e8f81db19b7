"""The ``repair`` commands. Each imports its heavy modules itself, so that --help is quick."""

from __future__ import annotations

import warnings
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from repair_pipeline.cli.errors import one_line
from repair_pipeline.cli.nightly_commands import nightly
from repair_pipeline.cli.options import CaseName, Device
from repair_pipeline.cli.patch_commands import patch
from repair_pipeline.cli.review import review
from repair_pipeline.cli.streams import replace_unencodable
from repair_pipeline.errors import InputError

# Raised inside torch when it first uses forward-mode differentiation; a user can do nothing about it.
warnings.filterwarnings("ignore", message="`torch.jit.script` is deprecated", category=FutureWarning)

app = typer.Typer(
    help="Find the training examples that caused a model's failures, remove their influence, and test the repair.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: importing rich takes most of the half second that --help may take
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"repair {version('repair_pipeline')}")
        raise typer.Exit


@app.callback()
def start(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Before every command: make output that the terminal cannot encode no error."""
    replace_unencodable()


class Format(StrEnum):
    """Output formats of a query."""

    table = "table"
    csv = "csv"
    json = "json"


@app.command(epilog="Example: repair demo")
def demo(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the example's files are written.")] = Path(
        "demo"
    ),
) -> None:
    """Repair an example of real digits, as you would your own model. It takes a minute."""
    from repair_pipeline.cli.demo import show

    with one_line():
        show(folder)


@app.command(epilog="Example: repair run digits-label_noise-s0 --set corruption.rate=0.4 --set seed=3")
def run(
    case: Annotated[str | None, typer.Argument(metavar="CASE")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one field.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Run finished steps again.")] = False,
    plan: Annotated[bool, typer.Option("--plan", help="Run nothing; list the steps that would run, and why.")] = False,
    device: Annotated[Device, typer.Option(help="Where the heavy steps run.")] = Device.auto,
    from_mlflow: Annotated[
        str | None,
        typer.Option("--from-mlflow", metavar="RUN_ID", help="Repeat the case of this MLflow run (parent or child)."),
    ] = None,
) -> None:
    """Run CASE; finished steps are skipped. CASE is a preset, the id of a stored case, or FILE.yaml."""
    from repair_pipeline.cli.run import repeat_and_show, run_and_show, show_plan

    with one_line():
        if (case is None) == (from_mlflow is None):
            given = "neither is" if case is None else f"both {case!r} and {from_mlflow!r} are"
            raise InputError(
                f"the case is given by CASE or by --from-mlflow RUN_ID, but {given} given: give one of them"
            )
        if plan and from_mlflow is not None:
            raise InputError(
                "--plan does not work with --from-mlflow: give the CASE instead (repair list shows the cases)"
            )
        if plan:
            show_plan(str(case), settings or [], device.value)
        elif from_mlflow is None:
            run_and_show(str(case), settings or [], force, device.value)
        else:
            repeat_and_show(from_mlflow, settings or [], force, device.value)


@app.command(epilog="Example: repair explain wards-2a952b1f")
def explain(case: CaseName) -> None:
    """Print the verdict on CASE, the reasons, and what to do next."""
    from repair_pipeline.cli.verdicts import explain as explain_and_show

    with one_line():
        explain_and_show(case)


@app.command(epilog="Example: repair judge digits-label_noise-s0 --model retrained.safetensors")
def judge(
    case: CaseName,
    model: Annotated[Path, typer.Option("--model", metavar="FILE", help="The model's weights: a safetensors file.")],
    device: Annotated[Device, typer.Option(help="Where the heavy steps run.")] = Device.auto,
) -> None:
    """Judge a model that was made elsewhere. It is judged by the gate of CASE, on its unseen rows."""
    from repair_pipeline.cli.judge import judge_and_show

    with one_line():
        judge_and_show(case, model, device.value)


@app.command(epilog="Example: repair compare digits-label_noise-s0 retrained.safetensors")
def compare(
    case: CaseName,
    new: Annotated[Path, typer.Argument(metavar="NEW", help="The new model's weights: a safetensors file.")],
    old: Annotated[
        Path | None,
        typer.Option("--old", metavar="FILE", help="Weights of the model to replace; default: the case's base model."),
    ] = None,
    device: Annotated[Device, typer.Option(help="Where the heavy steps run.")] = Device.auto,
) -> None:
    """Compare a retrained model, NEW, with the deployed one.

    Both are compared as they are, by the gate of CASE, on its unseen rows.
    """
    from repair_pipeline.cli.judge import compare_and_show

    with one_line():
        compare_and_show(case, new, old, device.value)


@app.command(epilog="Example: repair study methods --plan")
def study(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    plan: Annotated[bool, typer.Option("--plan", help="Run nothing; show what is left to run, and the time.")] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Number of processes; default: one per core.")] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="PART", help="Run only this part of the study paper; can be repeated.")
    ] = None,
    register: Annotated[
        bool, typer.Option("--register", help="Run nothing; register the cases as partitions in Dagster.")
    ] = False,
) -> None:
    """Run the study NAME; finished parts are skipped.

    NAME is methods, few_failures, counterfactual, gate, real_data or paper.
    """
    from repair_pipeline.cli.study import run_and_show

    with one_line():
        run_and_show(name, plan, workers, only or [], register)


@app.command("list", epilog="Example: repair list --format csv")
def list_cases(
    format: Annotated[Format, typer.Option("--format", help="Output format.")] = Format.table,
    stale: Annotated[bool, typer.Option("--stale", help="Say which finished cases are stale, and why; slow.")] = False,
    register: Annotated[bool, typer.Option("--register", help="Register them all as partitions in Dagster.")] = False,
) -> None:
    """List every case in the store with its verdict, and the presets."""
    from repair_pipeline.cli.listing import register_all, show_cases

    with one_line():
        show_cases(format.value, stale)
        if register:
            register_all()


@app.command(
    epilog="Example: repair query \"SELECT method, auc FROM detection WHERE case_id = 'digits-label_noise-s0'\""
)
def query(
    sql: Annotated[str, typer.Argument(metavar="SQL")],
    format: Annotated[Format, typer.Option("--format", help="Output format.")] = Format.table,
) -> None:
    """Run one SELECT over the views. Some are cases, examples, detection, recovery, verdicts, patch and pairs."""
    from repair_pipeline.cli.answer import print_answer
    from repair_pipeline.storage.asking import ask
    from repair_pipeline.storage.layout import Layout

    with one_line():
        layout = Layout.current()
        print_answer(ask(layout, sql), format.value)
    if not layout.results.is_dir():
        typer.echo(
            f"repair: {layout.home} has no results: set REPAIR_HOME, or change to the folder of your runs", err=True
        )


@app.command(epilog="Example: repair report digits-label_noise-s0 --open")
def report(
    case: Annotated[str | None, typer.Argument(metavar="[CASE]")] = None,
    every: Annotated[bool, typer.Option("--all", help="Write a page that compares all finished cases.")] = False,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Print the path of the report of CASE; --all compares all cases."""
    from repair_pipeline.cli.report import report_path

    with one_line():
        path: Path = report_path(case, every)
    typer.echo(path)
    if show:
        typer.launch(path.as_uri())


@app.command(epilog="Example: repair ui --dagster-port 3001")
def ui(
    dagster_port: Annotated[int | None, typer.Option(help="Dagster's port; default: the setting dagster_port.")] = None,
    mlflow_port: Annotated[int | None, typer.Option(help="MLflow's port; default: the setting mlflow_port.")] = None,
) -> None:
    """Serve Dagster's and MLflow's pages on loopback until Ctrl-C."""
    from repair_pipeline.cli.ui import serve
    from repair_pipeline.settings import read_settings

    with one_line():
        serve(read_settings(dagster_port=dagster_port, mlflow_port=mlflow_port))


@app.command(epilog="Example: repair init wards.yaml --train train.parquet --test test.parquet --factory my_model:net")
def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The case file to write; it must not exist.")],
    train: Annotated[str | None, typer.Option(help="Training data: .parquet, .csv, or a folder.")] = None,
    test: Annotated[str | None, typer.Option(help="Labelled test data, in the same format.")] = None,
    factory: Annotated[str | None, typer.Option(help="package.module:function that makes the model.")] = None,
    torchvision: Annotated[str | None, typer.Option(help="A torchvision architecture, instead of --factory.")] = None,
    transformers: Annotated[
        str | None, typer.Option(help="The folder of a model of transformers, instead of --factory.")
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="Trained weights: .safetensors, or models:/NAME@champion.")
    ] = None,
    text: Annotated[
        str | None, typer.Option(help="The column of text; the tokenizer is in the folder of --transformers.")
    ] = None,
    transform: Annotated[str | None, typer.Option(help="package.module:function that prepares one input.")] = None,
    label: Annotated[str, typer.Option(help="The column with the labels.")] = "label",
    id: Annotated[str | None, typer.Option(help="The column with unique ids of the examples.")] = None,
    classes: Annotated[
        str | None,
        typer.Option(help="Class names in the order of the model's outputs, comma-separated; default: sorted."),
    ] = None,
    failures: Annotated[str | None, typer.Option(help="A CSV or Parquet file that lists failing test rows.")] = None,
    where: Annotated[str | None, typer.Option(help="A predicate over the test rows' columns.")] = None,
) -> None:
    """Write a case FILE for your own model and data. Asks for what the options leave out."""
    from repair_pipeline.cli.init import write_case

    required = {
        **{"train": train, "test": test, "factory": factory, "torchvision": torchvision},
        **{"transformers": transformers, "weights": weights},
    }
    optional = {
        "text": text,
        "transform": transform,
        "label": label,
        "id": id,
        "classes": classes,
        "list": failures,
        "where": where,
    }
    with one_line():
        write_case(file, {**required, **optional})
    typer.echo(f"wrote {file}; next: repair check {file}")


@app.command(epilog="Example: repair check wards.yaml")
def check(
    case: CaseName,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one field.")] = None,
) -> None:
    """Check CASE before a long run; writes nothing.

    Checks data, labels, model, failures, the gate, memory and time.
    """
    from repair_pipeline.cli.check import check_and_show

    with one_line():
        check_and_show(case, settings or [])


@app.command(epilog="Example: repair promote wards")
def promote(name: Annotated[str, typer.Argument(metavar="NAME")]) -> None:
    """Make the candidate of the model NAME its champion. NAME is the case's name."""
    from repair_pipeline.cli.promote import promote_and_show

    with one_line():
        promote_and_show(name)


@app.command(epilog="Example: repair rollback wards")
def rollback(name: Annotated[str, typer.Argument(metavar="NAME")]) -> None:
    """Make the previous champion of the model NAME the champion again."""
    from repair_pipeline.cli.promote import rollback_and_show

    with one_line():
        rollback_and_show(name)


app.command(epilog="Example: repair review wards-1f0c2ab3 --open")(review)
app.add_typer(patch, name="patch")
app.add_typer(nightly, name="nightly")


@app.command(epilog="Example: repair gc --keep-days 14 --dry-run")
def gc(
    keep_days: Annotated[
        int | None,
        typer.Option("--keep-days", metavar="DAYS", help="Keep younger cases whole; default: setting keep_days."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Remove nothing; list what is held, and why it is kept.")
    ] = False,
) -> None:
    """Clear old cases: remove their scores, weights and MLflow runs. Verdicts, patches and decisions are kept."""
    from repair_pipeline.cli.gc import clear, show

    with one_line():
        show(keep_days) if dry_run else clear(keep_days)


@app.command(epilog="Example: repair doctor --free 4f1c2a6e-0d3b-4c58-9f57-2a3c8e5d9b10")
def doctor(
    free: Annotated[str | None, typer.Option(metavar="RUN_ID", help="Free the pool slots held by this run.")] = None,
) -> None:
    """Show versions, device, settings and stuck pool slots."""
    from repair_pipeline.cli.doctor import examine

    with one_line():
        examine(free)


if __name__ == "__main__":
    app()
