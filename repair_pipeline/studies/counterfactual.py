"""Does the sum of influences predict the effect of retraining without the rows (Eq. 2, 6)?"""

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
from repair_pipeline.types import Causes

_NOTHING = "nothing"
_SPLITS = ("query", "holdout")


@dataclass(frozen=True)
class Counterfactual:
    """The study ``counterfactual``: D∖C retrained for random C and for each method's most harmful rows.

    Each random C holds half of D, as in the linear datamodelling score, so that the sums vary. As many most harmful
    rows are removed as were planted. The outcome is Σ_z log p(z|D∖C), in nats, with each p averaged over retrainings;
    the joint log p(F|D∖C) would be dominated by the best of the three retrainings. It is computed on the failures that
    influence was computed for (Eq. 6), and on the holdout.
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
        random = [f"random-{number}" for number in range(self.subsets)]
        return [_NOTHING, *random, *(f"top-{name}" for name in self.methods)]

    def _file(self, layout: Layout, name: str) -> Path:
        return layout.study(self.name) / self.preset / f"{name}.safetensors"

    def _removed(self, view: GroupView, name: str) -> Causes:
        rows = view.data.fit
        kind, _, method = name.partition("-")
        if kind == "top":
            return load_scores(view.influence_path(method), rows.examples).top(len(rows.corrupted_ids))
        if kind == "random":
            drawn = numpy_stream(view.spec.seed, f"counterfactual/{name}").permutation(rows.examples.ids)
            return Causes(tuple(drawn[: len(drawn) // 2].tolist()))
        return Causes(())

    def _run(self, view: GroupView, name: str) -> list[str]:
        """Retrain without a set, and store log p(z|θ) on the query and the holdout, one row per retraining."""
        removed, data, spec = self._removed(view, name).as_set, view.data, view.spec
        rest, validation, tests = data.fit.examples.without(removed), data.validation.examples, view.partition.parts()
        log_p = defaultdict[str, list[Tensor]](list)
        with threads(spec.compute.threads):
            for number in range(self.retrainings):
                # The same stream for every set, so that sets differ in their rows and not in their seeds.
                generator = torch_stream(spec.seed, f"counterfactual/retraining-{number}")
                model = view.training.fit(view.untrained(generator), rest, validation, generator, start="new")
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
        measured = {split: {name: _predictive(log_p[split]) for name, log_p in tensors.items()} for split in _SPLITS}
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
    """Spearman's correlation over sets, with its 95% bootstrap interval."""
    resampled = bootstrap((sums, change), lambda a, b: spearmanr(a, b).statistic, paired=True, rng=0)
    interval = resampled.confidence_interval
    return f"{spearmanr(sums, change).statistic:.2f} [{interval.low:.2f}, {interval.high:.2f}]"


def _predictive(log_p: Float64[Tensor, "seeds n"]) -> float:
    """Σ_z log (mean of p(z|θ) over retrainings), in nats."""
    return float((log_p.logsumexp(dim=0) - np.log(len(log_p))).sum())
