"""What the heavy parts cost, as ratios to the bare PyTorch work that they cannot avoid: ``make bench``.

``make bench-check`` measures those that take seconds, and fails if one is much worse than docs/performance.md says.

Both sides of a ratio are measured in turn, so that a busy moment hits both. Inputs are random images of MNIST's size:
what they show does not change how long they take.
"""

from __future__ import annotations

import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain

import numpy as np
import torch
from torch import nn

from repair_pipeline.continual.ewc import EWC
from repair_pipeline.continual.fisher import fisher_diagonal
from repair_pipeline.continual.likelihood import Classifier, log_likelihoods
from repair_pipeline.continual.maximise import OneCycle
from repair_pipeline.continual.posterior import Factor, laplace
from repair_pipeline.influence.methods import METHODS
from repair_pipeline.models.cnn import cnn
from repair_pipeline.problem.task import RepairTask
from repair_pipeline.training.fit import Schedule
from repair_pipeline.training.recipe import Recipe, UserRecipe
from repair_pipeline.types import Examples, QuerySide
from repair_pipeline_tests.docs.pages import ROOT, put

PAGE = ROOT / "docs/performance.md"
WORSE = 1.5
"""A ratio has become worse if all of its repetitions are above this times the one on the page."""
_CHECKED = 3
"""Repetitions of a ratio that is compared with the page."""
ROWS, FAILURES, STEPS, BATCH = 3000, 60, 50, 128


@dataclass(frozen=True)
class Ratio:
    """A part of the package against the work that it is measured by."""

    name: str
    against: str
    bar: float
    ours: Callable[[], object]
    theirs: Callable[[], object]
    repeats: int = 7

    def measured(self, repeats: int) -> list[float]:
        """The ratio of each repetition, after one of both that does not count."""
        return [_seconds(self.ours) / _seconds(self.theirs) for _ in range(repeats + 1)][1:]


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def images(count: int, seed: int) -> Examples:
    """Random rows of MNIST's size."""
    stream = torch.Generator().manual_seed(seed)
    inputs = torch.rand(count, 1, 28, 28, generator=stream)
    ids = np.array([f"s{seed}-{at:05d}" for at in range(count)])
    return Examples(ids, inputs, torch.randint(10, (count,), generator=stream))


def task() -> RepairTask:
    """A small CNN with random weights, and rows to repair it with."""
    torch.manual_seed(0)
    classifier, fit = Classifier(cnn(1, 10).eval()), images(ROWS, 1)
    failures = images(FAILURES, 2)
    tests = QuerySide(query=failures, query_tuning=images(FAILURES // 4, 3), guard=images(300, 4))
    return RepairTask(
        classifier=classifier,
        fisher=fisher_diagonal(classifier, classifier.theta_hat, fit),
        log_lik_hat=log_likelihoods(classifier, classifier.theta_hat, fit),
        fit=fit,
        validation=images(300, 5),
        tests=tests,
        truth=None,
        training=Schedule(),
        untrained=lambda generator: cnn(1, 10),
        generator=torch.Generator().manual_seed(0),
    )


def forward(model: nn.Module, rows: Examples, size: int) -> None:
    """One pass without gradients."""
    with torch.no_grad():
        for inputs in rows.tensor.split(size):
            model(inputs)


def forward_and_backward(model: nn.Module, rows: Examples, size: int) -> None:
    """One pass with the gradient of each batch."""
    for inputs, labels in zip(rows.tensor.split(size), rows.labels.split(size), strict=True):
        model.zero_grad()
        nn.functional.cross_entropy(model(inputs), labels).backward()


def bare_steps(model: nn.Module, rows: Examples, size: int, steps: int, epochs: int = 1) -> None:
    """Adam on batches: what any training does."""
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-4)
    inputs, done = rows.tensor, 0
    for _ in range(epochs):
        for chosen in torch.randperm(len(rows)).split(size):
            if done == steps:
                return
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(inputs[chosen]), rows.labels[chosen]).backward()
            optimiser.step()
            done += 1


def quick_ratios(whole: RepairTask) -> Iterator[Ratio]:
    """Those that take seconds."""
    stream = torch.Generator().manual_seed(0)
    classifier, fit, theta = whole.classifier, whole.fit, whole.theta_hat
    model = cnn(1, 10).eval()
    yield Ratio(
        "Fisher diagonal",
        "forward and backward of the same rows",
        1.3,
        partial(fisher_diagonal, classifier, theta, fit),
        partial(forward_and_backward, model, fit, 100),
    )
    yield Ratio(
        "log p of all rows",
        "a forward pass",
        1.1,
        partial(log_likelihoods, classifier, theta, fit),
        partial(forward, model, fit, fit.at_once),
        repeats=15,
    )
    q = laplace(theta, whole.fisher, 2 / ROWS)
    many = images(BATCH * 8, 6)
    learner = EWC(OneCycle(stream, STEPS, batch_size=BATCH), precision="frozen")
    yield Ratio(
        f"EWC learns {BATCH * 8} rows: {STEPS} steps of {BATCH}",
        "the same number of bare steps",
        1.15,
        partial(learner.update, q, [Factor(many, 1.0)], classifier),
        partial(bare_steps, cnn(1, 10), many, BATCH, STEPS, epochs=STEPS),
    )
    recipe = Recipe(UserRecipe(optimiser="adam", learning_rate=1e-4, epochs=1, batch_size=64))
    yield Ratio(
        "an epoch of the owner's recipe",
        "a bare PyTorch loop",
        1.1,
        lambda: recipe.fit(model, fit, fit, stream, start="trained"),
        partial(bare_steps, cnn(1, 10), fit, 64, ROWS),
    )


def ratios_to_peers(whole: RepairTask) -> Iterator[Ratio]:
    """Those to other methods, which take minutes."""

    def ewc() -> None:
        fisher_diagonal(whole.classifier, whole.theta_hat, whole.fit)
        METHODS["ewc"]().scores(whole)

    for peer, name, bar in (("ekfac", "EK-FAC of kronfluence", 0.2), ("trak", "TRAK at its defaults", 0.3)):
        yield Ratio("`ewc`, with Fisher", name, bar, ewc, partial(METHODS[peer]().scores, whole), repeats=2)


def table(found: Iterator[Ratio]) -> str:
    """A row for each ratio: the median and the range of its repetitions, and the bar."""
    lines = ["| what | against | ratio | from to | bar |", "| --- | --- | ---: | ---: | ---: |"]
    for ratio in found:
        values = ratio.measured(ratio.repeats)
        spread = f"{min(values):.2f} to {max(values):.2f}"
        lines.append(f"| {ratio.name} | {ratio.against} | {statistics.median(values):.2f} | {spread} | {ratio.bar:g} |")
        print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join(lines) + "\n"


def ratios_in(page: str) -> dict[str, float]:
    """What a page's table says, by name."""
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \| ([\d.]+) \|", page, re.MULTILINE)
    return {name: float(value) for name, value in rows}


def become_worse(found: Iterator[Ratio], page: str) -> Iterator[str]:
    """A line for each ratio that is much worse than on the page.

    Raises:
        KeyError: the page does not have it.
    """
    said = ratios_in(page)
    for ratio in found:
        best = min(ratio.measured(_CHECKED))
        print(f"{ratio.name}: {best:.2f} at best, {said[ratio.name]:.2f} on the page", file=sys.stderr, flush=True)
        if best > WORSE * said[ratio.name]:
            yield f"{ratio.name}: {best:.2f} × {ratio.against} at best, and {said[ratio.name]:.2f} in {PAGE.name}"


def main(words: list[str]) -> int:
    """Measure everything and write it into the page; with ``--check``, compare the quick ones with the page."""
    torch.set_num_threads(1)
    whole = task()
    if words == ["--check"]:
        worse = list(become_worse(quick_ratios(whole), PAGE.read_text(encoding="utf-8")))
        for line in worse:
            print(line)
        return 1 if worse else 0
    put(table(chain(quick_ratios(whole), ratios_to_peers(whole))), PAGE, "ratios")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
