"""Making Dagster's definitions from the lineage."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import dagster as dg

from repair_pipeline.defs.assets.checks import checked, checks
from repair_pipeline.defs.assets.lineage import Asset
from repair_pipeline.defs.assets.links import link_back
from repair_pipeline.defs.assets.measures import measures
from repair_pipeline.defs.resources import Device, Store
from repair_pipeline.errors import InputError
from repair_pipeline.pipeline.engine import chosen_engine
from repair_pipeline.pipeline.inputs import require_unchanged
from repair_pipeline.pipeline.run import StepError, run_case
from repair_pipeline.pipeline.status import note_failed
from repair_pipeline.pipeline.step import Step
from repair_pipeline.types import Progress

RETRY = dg.RetryPolicy(max_retries=1, delay=5)
"""What failed is tried once more; finished files are kept. Bad input is not retried."""
_LIGHT = {"corrupted_dataset", "failure_partition", "report"}


def definition(together: Sequence[Asset]) -> dg.AssetsDefinition:
    """Assets as one step of a run."""
    name = together[0].name

    @dg.multi_asset(
        name=name,
        specs=[asset.spec() for asset in together],
        check_specs=[check.spec(asset.name) for asset in together for check in checks(asset)],
        pool=None if name in _LIGHT else "gpu",
        retry_policy=RETRY,
    )
    def make(
        context: dg.AssetExecutionContext, device: Device, store: Store
    ) -> Iterator[dg.MaterializeResult | dg.AssetObservation]:
        for asset in together:
            try:
                yield from materialise(asset, context, device, store)
            except InputError as error:
                raise dg.Failure(str(error), allow_retries=False) from error

    return make


def materialise(
    asset: Asset, context: dg.AssetExecutionContext, device: Device, store: Store
) -> Iterator[dg.MaterializeResult | dg.AssetObservation]:
    """Run the steps of an asset that are missing or stale, and check its results."""
    case = store.case(context.partition_key, device.resolve())
    if asset.name == "corrupted_dataset":
        require_unchanged(case.spec, case.layout)
    selection = context.run.asset_selection
    whole = context.job_name != "base" and (selection is None or dg.AssetKey("evaluation") in selection)
    force = store.force and context.retry_number == 0  # or a retry would make finished methods once more
    with chosen_engine(case.device):
        outcome = run_case(case, partial(_watch, context.log), force, asset.steps, whole)
    for name, error in outcome.failed.items():
        context.log.error("%s failed: %s: %s", name, type(error).__name__, error)
        if context.retry_number < RETRY.max_retries:
            raise StepError(f"{name} failed: {error}") from error
    if asset.optional and not asset.files(case):
        context.log.info("case %s has no %s", case.id, asset.name)
        return
    results = checked(asset, case, outcome.failed)
    faulty = any(check.blocking and not result.passed for check, result in results)
    if faulty:
        note_failed(case)
    told = {} if faulty else measures(asset.name, case)
    if told:
        context.log.info("%s: %s", asset.name, told["headline"])
    yield dg.MaterializeResult(
        asset_key=asset.name,
        metadata={**told, "reused": not outcome.made},
        check_results=[result for _, result in results],
        data_version=dg.DataVersion(asset.data_version(case)),
    )
    if asset.name == "tracked_run":
        yield from link_back(case, context.run.run_id)


@contextmanager
def _watch(log: dg.DagsterLogManager, step: Step) -> Iterator[Progress]:
    """Say in the run's events when a step begins, how far it is, and how long it took."""
    begun = started = time.perf_counter()
    previous = 0

    def report(done: int, total: int) -> None:
        nonlocal started, previous
        if done < previous:  # the step's next file
            started, previous = time.perf_counter(), 0
        if done * 10 // total > previous * 10 // total:  # only every 10%: each line is a row in Dagster's database
            rate = done / (time.perf_counter() - started)
            log.info("%s: %d of %d, %.3g/s, %.0f s left", step.name, done, total, rate, (total - done) / rate)
        previous = done

    log.info("%s begins", step.name)
    yield report
    log.info("%s took %.1f s", step.name, time.perf_counter() - begun)
