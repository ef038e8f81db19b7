"""Making an asset from a step of the pipeline."""

import time
import traceback
from collections.abc import Iterator, Sequence
from datetime import timedelta

import dagster as dg

from repair_pipeline.defs.assets.backlink import link_back
from repair_pipeline.defs.assets.checks import SUCCEEDED, checks
from repair_pipeline.defs.assets.labels import label
from repair_pipeline.defs.assets.measures import measures
from repair_pipeline.defs.partitions import CASES
from repair_pipeline.defs.resources import Device, Store
from repair_pipeline.errors import InputError
from repair_pipeline.pipeline.case import Case
from repair_pipeline.pipeline.inputs import require_unchanged
from repair_pipeline.pipeline.standing import require_runnable
from repair_pipeline.pipeline.status import note_failed, note_made
from repair_pipeline.pipeline.steps import STEPS, Step
from repair_pipeline.types import Progress

Result = dg.MaterializeResult | dg.AssetCheckResult
RETRY = dg.RetryPolicy(max_retries=1, delay=5)
"""A failed step is retried once and keeps the files it has finished. Bad input is not retried."""
FRESH = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=36), warn_window=timedelta(hours=26))
"""For nightly cases: the last report is from the last night."""


def asset(step: Step) -> dg.AssetsDefinition:
    """A step as an asset. A step that a case does not name is a skipped output; a method that fails, a failed check."""
    check_specs = {spec.get_python_identifier(): spec for spec in (check.spec(step.name) for check in checks(step))}
    outputs = ["result", *check_specs]
    tolerant = any(other.isolated or other.optional for other in STEPS if other.name in step.needs)
    return dg.AssetsDefinition(
        node_def=_graph(step, outputs) if tolerant else _op(step, step.name, step.needs, outputs),
        keys_by_input_name={need: dg.AssetKey(need) for need in step.needs},
        keys_by_output_name={"result": dg.AssetKey(step.name)},
        check_specs_by_output_name=check_specs,
        specs=[
            dg.AssetSpec(
                step.name,
                deps=step.needs,
                code_version=str(step.version),
                partitions_def=CASES,
                freshness_policy=FRESH if step.name == "report" else None,
                **label(step).attributes(),
            )
        ],
    )


def _op(step: Step, name: str, inputs: Sequence[str], outputs: Sequence[str]) -> dg.OpDefinition:
    # Steps pass values as files, so inputs and outputs are Nothing: they order the steps, and nothing is pickled.
    @dg.op(
        name=name,
        ins={name: dg.In(dg.Nothing) for name in inputs},
        out={name: dg.Out(dg.Nothing, is_required=False) for name in outputs},
        pool="gpu" if label(step).heavy else None,
        retry_policy=RETRY,
    )
    def make(context: dg.OpExecutionContext, device: Device, store: Store) -> Iterator[Result]:
        try:
            case = store.case(context.partition_key, device.resolve())
            last = context.retry_number >= RETRY.max_retries
            selection = context.run.asset_selection
            whole = context.job_name != "base" and (selection is None or dg.AssetKey("evaluation") in selection)
            yield from materialise(step, case, store.force, context.log, last, whole)
            if step.name == "tracked_run":
                link_back(case, context.run_id)
        except InputError as error:
            raise dg.Failure(str(error), allow_retries=False) from error

    return make


def _graph(step: Step, outputs: Sequence[str]) -> dg.GraphDefinition:
    """The step as a graph that runs even if some of the steps that it needs were skipped.

    Dagster skips whatever depends on a skipped output, unless the input is a fan-in, which an asset can have only
    inside a graph.
    """
    make = _op(step, f"make_{step.name}", ["needs"], outputs)
    # A fan-in cannot take an input that also waits for blocking checks, so a separate op waits for them.
    blocking = {other.name for other in STEPS if any(check.blocking for check in checks(other))}

    @dg.graph(
        name=step.name,
        ins={need: dg.GraphIn() for need in step.needs},
        out={name: dg.GraphOut() for name in outputs},
    )
    def run_with_available(**needs: dg.OpDefinition) -> dict[str, object]:
        ready = [checked.alias(f"{name}_checked")(need) if name in blocking else need for name, need in needs.items()]
        results = make(ready)
        return dict(zip(outputs, results, strict=True)) if len(outputs) > 1 else {outputs[0]: results}

    return run_with_available


@dg.op(ins={"need": dg.In(dg.Nothing)}, out=dg.Out(dg.Nothing))
def checked() -> None:
    """Waits until the blocking checks of an asset have passed; skipped if the asset is."""


def materialise(
    step: Step, case: Case, force: bool, log: dg.DagsterLogManager, last: bool, whole: bool
) -> Iterator[Result]:
    """Run a step on a case and check its results.

    Args:
        force: run the step even if its results are finished.
        last: whether this is the last attempt.
        whole: whether the run continues to the evaluation.
    """
    require_runnable(case)
    if step.name == "corrupted_dataset":
        require_unchanged(case.spec, case.layout)
    try:
        fresh = step.run(case, force, _progress(step, log))
    except Exception as error:
        if not (step.isolated and last) or isinstance(error, InputError):
            note_failed(case)
            raise
        log.exception("%s failed; the other methods continue", step.name)
        trace = dg.MetadataValue.md(f"```\n{traceback.format_exc()}\n```")
        message = f"{type(error).__name__}: {error}"
        yield dg.AssetCheckResult(
            check_name=SUCCEEDED, passed=False, description=message, metadata={"traceback": trace}
        )
        return
    if not step.files(case):
        log.info("%s is skipped: case %s does not name it", step.name, case.id)
        return
    results = [(check, check.result(case)) for check in checks(step)]
    if any(check.blocking and check.fault and not result.passed for check, result in results):
        note_failed(case)
        metadata = {}
    else:
        note_made(case, step, whole)
        metadata = {"reused": not fresh, **measures(step, case)}
    yield dg.MaterializeResult(
        metadata=metadata,
        check_results=[result for _, result in results],
        data_version=dg.DataVersion(step.digest(case)),
    )


def _progress(step: Step, log: dg.DagsterLogManager) -> Progress:
    started, previous = time.perf_counter(), 0

    def report(done: int, total: int) -> None:
        nonlocal started, previous
        if done < previous:  # the step's next file
            started, previous = time.perf_counter(), 0
        if done * 10 // total > previous * 10 // total:  # only every 10%: each line is a row in Dagster's database
            rate = done / (time.perf_counter() - started)
            log.info("%s: %d of %d, %.3g/s, %.0f s left", step.name, done, total, rate, (total - done) / rate)
        previous = done

    return report
