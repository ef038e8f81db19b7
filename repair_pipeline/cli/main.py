"""``repair``: the commands. What is heavy is imported by the command that needs it, so that --help is quick."""

from __future__ import annotations

import warnings
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from repair_pipeline.cli.errors import one_line
from repair_pipeline.cli.streams import replace_what_cannot_be_written
from repair_pipeline.errors import InputError

# torch says so itself as it enters forward mode for the first time; there is nothing that a user could do.
warnings.filterwarnings("ignore", message="`torch.jit.script` is deprecated", category=FutureWarning)

app = typer.Typer(
    help="Find the training examples that caused a model's failures, erase them, and prove the repair.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: rich would take most of the half second that --help may take
)

CaseName = Annotated[str, typer.Argument(metavar="CASE")]


@app.callback()
def start() -> None:
    """Whatever the command: what the terminal, or the file that is written into, cannot show does not end it."""
    replace_what_cannot_be_written()


class Device(StrEnum):
    """Where the heavy steps run."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class Format(StrEnum):
    """How an answer is printed."""

    table = "table"
    csv = "csv"
    json = "json"


@app.command(epilog="Example: repair run digits-label_noise-s0 --set corruption.rate=0.4 --set seed=3")
def run(
    case: Annotated[str | None, typer.Argument(metavar="CASE")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one field.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Make again what is finished.")] = False,
    plan: Annotated[bool, typer.Option("--plan", help="Run nothing: say which steps are to be made, and why.")] = False,
    device: Annotated[Device, typer.Option(help="Where the heavy steps run.")] = Device.auto,
    from_mlflow: Annotated[
        str | None, typer.Option("--from-mlflow", metavar="RUN_ID", help="The case of this MLflow run, or its child.")
    ] = None,
) -> None:
    """Run CASE (a preset, the id of a stored case, or FILE.yaml): what is finished is skipped."""
    from repair_pipeline.cli.run import repeat_and_show, run_and_show, show_plan

    with one_line():
        if (case is None) == (from_mlflow is None):
            said = "neither is" if case is None else f"both {case!r} and {from_mlflow!r} are"
            raise InputError(f"a case is named by CASE or by --from-mlflow RUN_ID, {said} given: give one of them")
        if plan and from_mlflow is not None:
            raise InputError("--plan is of a CASE, and --from-mlflow is given: name the case, see repair list")
        if plan:
            show_plan(str(case), settings or [], device.value)
        elif from_mlflow is None:
            run_and_show(str(case), settings or [], force, device.value)
        else:
            repeat_and_show(from_mlflow, settings or [], force, device.value)


@app.command(epilog="Example: repair judge digits-label_noise-s0 --model retrained.safetensors")
def judge(
    case: CaseName,
    model: Annotated[Path, typer.Option("--model", metavar="FILE", help="Its weights: a safetensors file.")],
    device: Annotated[Device, typer.Option(help="Where the heavy steps run.")] = Device.auto,
) -> None:
    """Judge a model that was made elsewhere on the unseen rows of CASE, by its gate."""
    from repair_pipeline.cli.judge import judge_and_show

    with one_line():
        judge_and_show(case, model, device.value)


@app.command(epilog="Example: repair study methods --plan")
def study(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    plan: Annotated[bool, typer.Option("--plan", help="Say what is left to run and how long it takes.")] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one for every core if not given.")] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="PART", help="Only this part of the study paper; may be repeated.")
    ] = None,
    register: Annotated[
        bool, typer.Option("--register", help="Run nothing: make its cases partitions in Dagster.")
    ] = False,
) -> None:
    """Run the study NAME (methods, few_failures, counterfactual, gate or paper): what is finished is skipped."""
    from repair_pipeline.cli.study import run_and_show

    with one_line():
        run_and_show(name, plan, workers, only or [], register)


@app.command("list", epilog="Example: repair list --register")
def list_cases(
    register: Annotated[bool, typer.Option("--register", help="Make them all partitions in Dagster.")] = False,
) -> None:
    """List the presets and every case in the store."""
    from repair_pipeline.cli.cases import show_cases

    with one_line():
        show_cases(register)


@app.command(
    epilog="Example: repair query \"SELECT method, auc FROM detection WHERE case_id = 'digits-label_noise-s0'\""
)
def query(
    sql: Annotated[str, typer.Argument(metavar="SQL")],
    format: Annotated[Format, typer.Option("--format", help="How to print the answer.")] = Format.table,
) -> None:
    """Answer one SELECT over the views: cases, examples, influence, detection, recovery, verdicts, patch, pairs, ..."""
    from repair_pipeline.cli.answer import print_answer
    from repair_pipeline.storage.layout import Layout
    from repair_pipeline.storage.views import query as ask

    with one_line():
        layout = Layout.current()
        print_answer(ask(layout, sql), format.value)
    if not layout.results.is_dir():
        typer.echo(f"repair: nothing was run below {layout.home}: set REPAIR_HOME, or go to its folder", err=True)


@app.command(epilog="Example: repair report digits-label_noise-s0 --open")
def report(
    case: Annotated[str | None, typer.Argument(metavar="[CASE]")] = None,
    every: Annotated[bool, typer.Option("--all", help="Make a page that compares every finished case.")] = False,
    show: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Print where the report of CASE, or with --all the one on every case, lies."""
    from repair_pipeline.cli.cases import report_path

    with one_line():
        path: Path = report_path(case, every)
    typer.echo(path)
    if show:
        typer.launch(path.as_uri())


@app.command(epilog="Example: repair ui --dagster-port 3001")
def ui(
    dagster_port: Annotated[int | None, typer.Option(help="Dagster's port on loopback; 3000 if not set.")] = None,
    mlflow_port: Annotated[int | None, typer.Option(help="MLflow's port on loopback; 5000 if not set.")] = None,
) -> None:
    """Serve Dagster's and MLflow's pages on loopback until Ctrl-C."""
    from repair_pipeline.cli.ui import serve
    from repair_pipeline.settings import read_settings

    with one_line():
        serve(read_settings(dagster_port=dagster_port, mlflow_port=mlflow_port))


@app.command(epilog="Example: repair init wards.yaml --train train.parquet --test test.parquet --factory my_model:net")
def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The case file to write; it must not be there yet.")],
    train: Annotated[str | None, typer.Option(help="Training data: .parquet, .csv, or a folder.")] = None,
    test: Annotated[str | None, typer.Option(help="Labelled test data, of the same kind.")] = None,
    factory: Annotated[str | None, typer.Option(help="package.module:function that makes the model.")] = None,
    torchvision: Annotated[str | None, typer.Option(help="Or an architecture of torchvision.")] = None,
    weights: Annotated[
        str | None, typer.Option(help="Trained weights: .safetensors, or models:/NAME@champion.")
    ] = None,
    transform: Annotated[str | None, typer.Option(help="package.module:function that prepares one input.")] = None,
    label: Annotated[str, typer.Option(help="The column of labels.")] = "label",
    id: Annotated[str | None, typer.Option(help="The column that names examples.")] = None,
    classes: Annotated[
        str | None, typer.Option(help="Names in the order of the model's outputs, by comma; else sorted.")
    ] = None,
    failures: Annotated[str | None, typer.Option(help="A CSV or Parquet file that lists failing test rows.")] = None,
    where: Annotated[str | None, typer.Option(help="A predicate over the test rows' columns.")] = None,
) -> None:
    """Write a commented case FILE for your own model and data: asks for what no option says."""
    from repair_pipeline.cli.init import write_case

    asked = {"train": train, "test": test, "factory": factory, "torchvision": torchvision, "weights": weights}
    said = {"transform": transform, "label": label, "id": id, "classes": classes, "list": failures, "where": where}
    with one_line():
        write_case(file, {**asked, **said})


@app.command(epilog="Example: repair check wards.yaml")
def check(
    case: CaseName,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one field.")] = None,
) -> None:
    """Look at data, labels, model, failures, memory and time of CASE before anything long starts; writes nothing."""
    from repair_pipeline.cli.check import check_and_show

    with one_line():
        check_and_show(case, settings or [])


@app.command(epilog="Example: repair promote wards")
def promote(name: Annotated[str, typer.Argument(metavar="NAME")]) -> None:
    """Make the candidate of the model NAME (a case's name) its champion."""
    from repair_pipeline.pipeline.inputs import require_judged_data
    from repair_pipeline.storage.layout import Layout
    from repair_pipeline.tracking.registry import promote as promoted
    from repair_pipeline.tracking.registry import repairs_champion

    with one_line():
        layout = Layout.current()
        require_judged_data(layout, name)
        of_champion = repairs_champion(layout, name)
        former, new = promoted(layout, name)
    typer.echo(f"champion of {name}: version {new}" + ("" if former is None else f", before it was {former}"))
    if not of_champion:
        typer.echo(
            f"repair: version {new} repairs other weights than version {former}'s, whose own repair may be lost: "
            f"to go back: repair rollback {name}",
            err=True,
        )


@app.command(epilog="Example: repair rollback wards")
def rollback(name: Annotated[str, typer.Argument(metavar="NAME")]) -> None:
    """Make the former champion of the model NAME champion again."""
    from repair_pipeline.storage.layout import Layout
    from repair_pipeline.tracking.registry import rollback as rolled_back

    with one_line():
        replaced, now = rolled_back(Layout.current(), name)
    typer.echo(f"champion of {name}: version {now} again, instead of {replaced}")


patch = typer.Typer(help="Apply the data set patch of a case to the owner's training data, or take it back.")
app.add_typer(patch, name="patch")


@patch.command("apply", epilog="Example: repair patch apply wards-1f0c2ab3")
def patch_apply(case: CaseName) -> None:
    """Drop and relabel the rows of the patch of CASE in its training data; the originals are kept beside."""
    from repair_pipeline.cli.patch import apply

    with one_line():
        apply(case)


@patch.command("revert", epilog="Example: repair patch revert wards-1f0c2ab3")
def patch_revert(case: CaseName) -> None:
    """Put the training data of CASE back as they were."""
    from repair_pipeline.cli.patch import revert

    with one_line():
        revert(case)


nightly = typer.Typer(help="Cases that repair themselves by night.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(nightly, name="nightly")
TemplateName = Annotated[str, typer.Argument(metavar="NAME")]


@nightly.command("add", epilog="Example: repair nightly add wards.yaml")
def nightly_add(file: Annotated[str, typer.Argument(metavar="FILE")]) -> None:
    """Keep the case FILE, which has the key nightly, as a template."""
    from repair_pipeline.cli.nightly import add

    with one_line():
        add(file)


@nightly.command("remove", epilog="Example: repair nightly remove wards")
def nightly_remove(name: TemplateName) -> None:
    """Forget the template NAME; its nights are kept."""
    from repair_pipeline.cli.nightly import remove

    with one_line():
        remove(name)


@nightly.command("list", epilog="Example: repair nightly list")
def nightly_list() -> None:
    """Show the templates, their last nights, and what is switched on."""
    from repair_pipeline.cli.nightly import show

    with one_line():
        show()


@nightly.command("tick", epilog="Example: repair nightly tick wards")
def nightly_tick(name: TemplateName) -> None:
    """Make tonight's case of the template NAME now and run it here."""
    from repair_pipeline.cli.nightly import tick

    with one_line():
        tick(name)


@nightly.command("on", epilog="Example: repair nightly on --watch")
def nightly_on(
    watch: Annotated[bool, typer.Option("--watch", help="Also as soon as failures are reported.")] = False,
) -> None:
    """Switch the schedule on, and the sensors of new champions and of failed runs."""
    from repair_pipeline.cli.nightly import turn

    with one_line():
        turn(True, watch)


@nightly.command("off", epilog="Example: repair nightly off")
def nightly_off() -> None:
    """Switch the schedule and every sensor off."""
    from repair_pipeline.cli.nightly import turn

    with one_line():
        turn(False, False)


@app.command(epilog="Example: repair doctor --free 4f1c2a6e-0d3b-4c58-9f57-2a3c8e5d9b10")
def doctor(
    free: Annotated[str | None, typer.Option(metavar="RUN_ID", help="Free the pool slots this run holds.")] = None,
) -> None:
    """Show versions, device, settings and stuck pool slots."""
    from repair_pipeline.cli.doctor import examine

    with one_line():
        examine(free)


if __name__ == "__main__":
    app()
