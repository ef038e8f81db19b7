"""Is the sum of influences what retraining without the rows does (Eq. 2, 6)?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float64
from scipy.stats import bootstrap, spearmanr
from torch import Tensor

from repair_pipeline.cases.presets import preset
from repair_pipeline.cases.spec import CaseSpec, at_defaults, parse_spec
from repair_pipeline.compute.device import threads
from repair_pipeline.compute.streams import numpy_stream, torch_stream
from repair_pipeline.continual.likelihood import Classifier, log_likelihoods
from repair_pipeline.influence.methods import METHODS
from repair_pipeline.pipeline.case import Case, GroupView
from repair_pipeline.reporting.picture import Picture
from repair_pipeline.storage.files import read_tensors, write_tensors
from repair_pipeline.storage.layout import Layout
from repair_pipeline.storage.records import load_scores
from repair_pipeline.studies import costs
from repair_pipeline.studies.cases import run_cases, upto
from repair_pipeline.studies.study import Piece, Stage
from repair_pipeline.training.fit import fit
from repair_pipeline.types import Causes

_NOTHING = "nothing"
_SPLITS = ("query", "holdout")


@dataclass(frozen=True)
class Counterfactual:
    """The study ``counterfactual``: D∖C retrained for random C and for each method's most harmful rows.

    Random C hold half of D each, as in the linear datamodelling score, so that each method's sum has something to vary
    over. The most harmful are as many as were planted. What is measured is Σ_z log p(z|D∖C), each p averaged over the
    retrainings: of the joint log p(F|D∖C) three retrainings would show little but the luckiest of them. It is read on
    the failures that influence was computed for (Eq. 6), and on the holdout.
    """

    preset: str = "digits-label_noise-s0"
    methods: tuple[str, ...] = tuple(METHODS)
    subsets: int = 50
    retrainings: int = 3
    name: str = "counterfactual"

    def cases(self) -> list[CaseSpec]:
        fields = {"influence": at_defaults(self.methods), "treat": [], "treatments": {}}
        return [parse_spec(preset(self.preset).resolved | fields)]

    def stages(self, layout: Layout, data_dir: Path) -> list[Stage]:
        case = self._case(layout, data_dir)
        return [
            Stage([run_cases(case.id, [case], upto("evaluation"))]),
            Stage(
                [
                    Piece(
                        name,
                        {self._file(layout, name): self.retrainings * costs.DIGITS_RETRAINING},
                        partial(self._run, case, name),
                    )
                    for name in self._sets()
                ]
            ),
        ]

    def _case(self, layout: Layout, data_dir: Path) -> GroupView:
        return Case(self.cases()[0], layout, data_dir, torch.device("cpu")).first_view

    def _sets(self) -> list[str]:
        random = [f"random-{at}" for at in range(self.subsets)]
        return [_NOTHING, *random, *(f"top-{name}" for name in self.methods)]

    def _file(self, layout: Layout, name: str) -> Path:
        return layout.study(self.name) / self.preset / f"{name}.safetensors"

    def _removed(self, view: GroupView, name: str) -> Causes:
        rows = view.data.fit
        kind, _, which = name.partition("-")
        if kind == "top":
            return load_scores(view.influence_path(which), rows.examples).top(len(rows.corrupted_ids))
        if kind == "random":
            drawn = numpy_stream(view.spec.seed, f"counterfactual/{name}").permutation(rows.examples.ids)
            return Causes(tuple(drawn[: len(drawn) // 2].tolist()))
        return Causes(())

    def _run(self, view: GroupView, name: str) -> list[str]:
        """Retrain without a set, and keep log p(z|θ) of the query and the holdout, one row a retraining."""
        removed, data, spec = self._removed(view, name).as_set, view.data, view.spec
        rest, validation, tests = data.fit.examples.without(removed), data.validation.examples, view.partition.parts()
        log_p = defaultdict[str, list[Tensor]](list)
        with threads(spec.compute.threads):
            for at in range(self.retrainings):
                # The same stream for every set: they differ in their rows and not in their luck.
                generator = torch_stream(spec.seed, f"counterfactual/retraining-{at}")
                model = fit(view.untrained(generator), rest, validation, spec.training, generator, mode="train")
                classifier = Classifier(model)
                for split in _SPLITS:
                    log_p[split].append(log_likelihoods(classifier, classifier.theta_hat, tests[split]))
        tensors = {split: torch.stack(runs) for split, runs in log_p.items()}
        write_tensors(self._file(view.layout, name), tensors, {"removed": len(removed)})
        return []

    def figures(self, layout: Layout) -> Mapping[str, Picture]:
        return {}

    def tables(self, layout: Layout) -> dict[str, pd.DataFrame]:
        case = self._case(layout, Path())
        files = {name: path for name in self._sets() if (path := self._file(layout, name)).exists()}
        tensors = {name: read_tensors(path)[0] for name, path in files.items()}
        measured = {split: {name: _predictive(kept[split]) for name, kept in tensors.items()} for split in _SPLITS}
        random = [name for name in files if name.startswith("random-")]
        if _NOTHING not in files or len(random) < 3:
            return {}
        removed = {name: self._removed(case, name).as_set for name in random}
        rows = []
        for method in (method for method in self.methods if f"top-{method}" in files):
            scores = load_scores(case.influence_path(method), case.data.fit.examples)
            sums = np.array([scores.values[case.data.fit.examples.having(removed[name])].sum() for name in random])
            row = {"method": method}
            for split, nats in measured.items():
                change = np.array([nats[name] - nats[_NOTHING] for name in random])
                row[f"{split}: spearman [95%]"] = _spearman(sums, change)
                row[f"{split}: nats gained without its top"] = f"{nats[f'top-{method}'] - nats[_NOTHING]:.1f}"
            rows.append(row)
        return {f"{self.preset} counterfactual": pd.DataFrame(rows)}


def _spearman(sums: Float64[np.ndarray, " n"], change: Float64[np.ndarray, " n"]) -> str:
    """The rank correlation over sets, with its bootstrap interval."""
    found = bootstrap((sums, change), lambda a, b: spearmanr(a, b).statistic, paired=True, rng=0).confidence_interval
    return f"{spearmanr(sums, change).statistic:.2f} [{found.low:.2f}, {found.high:.2f}]"


def _predictive(log_p: Float64[Tensor, "seeds n"]) -> float:
    """The sum over rows of the log of the mean over retrainings of p(z|θ)."""
    return float((log_p.logsumexp(dim=0) - np.log(len(log_p))).sum())
