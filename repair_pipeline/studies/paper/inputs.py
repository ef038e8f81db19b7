"""Fig. 4 and 8: random input noise and adversarial poisoning; and imbalance, which the paper only mentions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from repair_pipeline.cases.presets import case_id
from repair_pipeline.cases.spec import CaseSpec, at_defaults
from repair_pipeline.reporting import gallery
from repair_pipeline.reporting.picture import WIDTH, Picture, look
from repair_pipeline.studies.paper.charts import bars
from repair_pipeline.studies.paper.part import Part
from repair_pipeline.studies.paper.scope import TREATED, Scope
from repair_pipeline.studies.tables import mean_sd

_CORRUPTIONS = ("input_noise", "poison")
_LEVELS = {"input_noise": ("level", (0.1, 0.3, 0.6)), "poison": ("epsilon", (0.1, 0.2, 0.3))}
_SENSITIVITY_SEEDS = (0, 1, 2)
_ACCURACIES = ["holdout_accuracy", "query_accuracy", "remaining_accuracy"]
_REFERENCES = {
    "finetune": "nothing removed, fine-tuned",
    "reseed": "nothing removed, retrained",
    "semi_oracle": "planted removed, fine-tuned",
    "retrain": "planted removed, retrained",
}


class InputCorruptions(Part):
    """Fig. 4 and 8."""

    name = "fig4"
    corruptions = references = _CORRUPTIONS

    def tables(self, scope: Scope) -> dict[str, pd.DataFrame]:
        tables = {}
        for corruption in _CORRUPTIONS:
            tables[f"Fig. 4 {corruption} causes"] = mean_sd(
                causes(scope, corruption), ["method"], ["planted", "in target classes"], digits=0
            )
            tables[f"Fig. 4 {corruption} repairs"] = mean_sd(repairs(scope, corruption), ["method"], _ACCURACIES)
            tables[f"Fig. 4 {corruption} references"] = mean_sd(references(scope, corruption), ["name"], _ACCURACIES)
        return tables

    def figures(self, scope: Scope) -> Mapping[str, Picture]:
        drawn = {}
        for corruption in _CORRUPTIONS:
            if len(repairs(scope, corruption)):
                drawn[f"fig4-{corruption}"] = _bar_charts(scope, corruption)
            evidence = scope.evidence(scope.scored(corruption, scope.seeds[0]))
            if evidence is not None:
                most, _ = gallery.most_and_least_harmful(evidence)
                planted = np.flatnonzero(evidence.data.fit.corrupted.numpy())[: gallery.SHOWN]
                with look():
                    drawn[f"fig4-{corruption}-examples"] = gallery.training_rows(evidence, planted, "Corrupted rows")
                    drawn[f"fig8-{corruption}"] = gallery.training_rows(
                        evidence, most, f"The {len(most)} most harmful rows"
                    )
        return drawn


def causes(scope: Scope, corruption: str) -> pd.DataFrame:
    """How many of each method's causes were planted, and how many have a target class as label; one row per seed."""
    specs = scope.over_seeds(scope.scored, corruption)
    counts = scope.stored("detection", specs)
    rows = scope.stored(
        "(SELECT case_id, method, count(*) FILTER (corrupted) AS planted, "
        f'count(*) FILTER (label IN ({scope.targets(corruption)})) AS "in target classes" '
        "FROM influence JOIN examples USING (case_id, example_id) "
        f"WHERE rank <= {specs[0].causes.top} GROUP BY case_id, method)",
        specs,
    )
    order = counts[["seed", "method", "n_causes", "n_corrupted"]]
    return order.merge(rows, on=["seed", "method"])


def repairs(scope: Scope, corruption: str) -> pd.DataFrame:
    """Accuracies after fine-tuning without each method's causes; one row per method and seed."""
    rows = scope.stored("recovery", scope.over_seeds(scope.scored, corruption))
    return rows[rows["influence_method"].isin(TREATED)].rename(columns={"influence_method": "method"})


def references(scope: Scope, corruption: str) -> pd.DataFrame:
    """Accuracies with the planted rows removed, and with nothing removed; one row per reference and seed."""
    rows = scope.stored("recovery", scope.over_seeds(scope.references, corruption))
    return rows.assign(name=rows["treatment"].map(_REFERENCES)).dropna(subset=["name"])


def _bar_charts(scope: Scope, corruption: str) -> Picture:
    known, repaired, reference = (read(scope, corruption) for read in (causes, repairs, references))
    known = known[known["method"].isin(TREATED)]
    levels = reference.groupby("name", sort=False)[_ACCURACIES].mean()
    with look():
        figure = Figure(figsize=(WIDTH * 1.7, 6.4), layout="constrained")
        axes = figure.subplots(2, 2).ravel()
        top = int(known["n_causes"].iloc[0])
        bars(axes[0], known, "planted", f"planted among the top {top}", {})
        bars(axes[1], known, "in target classes", f"labelled as a target class among the top {top}", {})
        for ax, part in zip(axes[2:], ("holdout", "remaining"), strict=True):
            column = f"{part}_accuracy"
            bars(ax, repaired, column, f"{part} accuracy", dict(zip(levels.index, levels[column], strict=True)))
            ax.set_ylim(bottom=max(0.0, 0.95 * min(repaired[column].min(), levels[column].min())))
        figure.legend(*axes[2].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    counts = known.groupby("method", sort=False)[["planted", "in target classes"]].mean()
    means = repaired.groupby("method", sort=False)[_ACCURACIES].mean()
    listed = "; ".join(
        f"{method}: {counts.loc[method, 'planted']:.0f} planted, "
        f"{counts.loc[method, 'in target classes']:.0f} labelled as a target class, "
        f"holdout {means.loc[method, 'holdout_accuracy']:.3f}, "
        f"remaining {means.loc[method, 'remaining_accuracy']:.3f}"
        for method in means.index
    )
    return Picture(figure, f"Bar charts of each method's top {top} and what removing them repairs. {listed}.")


class Imbalance(Part):
    """Most rows of one class are missing: nothing is planted, so only recovery is measured."""

    name = "imbalance"

    def cases(self, scope: Scope, seed: int) -> list[CaseSpec]:
        methods = ("ewc", "ewc_paper", "random")
        treatments = at_defaults(("base", "finetune", "reseed", "learn_query"))
        influence = at_defaults(methods)
        return [scope.spec("imbalance", seed, influence=influence, treat=methods, treatments=treatments)]

    def tables(self, scope: Scope) -> dict[str, pd.DataFrame]:
        rows = scope.stored("recovery", (spec for seed in scope.seeds for spec in self.cases(scope, seed)))
        table = mean_sd(rows, ["treatment", "influence_method"], _ACCURACIES)
        return {"Imbalance": table.fillna({"influence_method": "–"})}


class Sensitivity(Part):
    """Sensitivity to two numbers that the paper does not state: the density of the noise, and FGSM's ε."""

    name = "sensitivity"

    def cases(self, scope: Scope, seed: int) -> list[CaseSpec]:
        return list(self._by_level(scope, seed).values())

    def _by_level(self, scope: Scope, seed: int) -> dict[tuple[str, float], CaseSpec]:
        if seed not in _SENSITIVITY_SEEDS:
            return {}
        return {
            (corruption, level): scope.spec(
                corruption,
                seed,
                corruption=scope.spec(corruption, seed).resolved["corruption"] | {key: level},
                influence={"ewc": {}, "random": {}},
                treat=("ewc", "random"),
                treatments={"base": {}, "finetune": {}, "semi_oracle": {}},
            )
            for corruption, (key, levels) in _LEVELS.items()
            for level in levels
        }

    def tables(self, scope: Scope) -> dict[str, pd.DataFrame]:
        cases = pd.DataFrame(
            [
                {"case_id": case_id(spec), "of": corruption, "level": level}
                for seed in scope.seeds
                for (corruption, level), spec in self._by_level(scope, seed).items()
            ],
            columns=["case_id", "of", "level"],
        )
        specs = [spec for seed in scope.seeds for spec in self._by_level(scope, seed).values()]
        recovery = cases.merge(scope.stored("recovery", specs), on="case_id")
        detection = cases.merge(scope.stored("detection", specs), on="case_id")
        keys = ["of", "level"]
        return {
            "Sensitivity, causes": mean_sd(detection, [*keys, "method"], ["auc", "precision"]),
            "Sensitivity, repairs": mean_sd(
                recovery, [*keys, "treatment", "influence_method"], ["holdout_accuracy", "remaining_accuracy"]
            ).fillna({"influence_method": "–"}),
        }
