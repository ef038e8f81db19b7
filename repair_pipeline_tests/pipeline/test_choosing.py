"""A case that lets ``auto`` choose, and takes its causes by a false-discovery rate."""

import shutil
from pathlib import Path

import pytest

from repair_pipeline.cases.resolve import with_settings
from repair_pipeline.pipeline.evaluation import grid
from repair_pipeline.pipeline.repair_record import read_repair_record
from repair_pipeline.pipeline.steps import STEPS
from repair_pipeline.storage.files import read_parquet
from repair_pipeline.storage.records import load_scores
from repair_pipeline_tests.pipeline.conftest import TINY, case_at
from repair_pipeline_tests.pipeline.running import run
from repair_pipeline_tests.pipeline.test_holdout import assert_same_bits, corrupt_the_holdouts_labels, found

SETTINGS = [
    "influence={ewc: {reading: difference}, random: {}}",
    "causes={fdr: 0.2}",
    "treatments={finetune: {}, ewc_deletion: [{}, {gamma: 0.1}], auto: [{fractions: [0.2]}, "
    "{fractions: [0.2], pool: all}]}",
]
CHOOSING = with_settings(TINY, SETTINGS)


@pytest.fixture(scope="module")
def case(finished_home, tmp_path_factory):
    """The tiny case's base, and what the choosing case makes on it."""
    home = tmp_path_factory.mktemp("choosing")
    (home / "results").mkdir()
    (Path(home) / "results" / "bases").symlink_to(finished_home / "results" / "bases")
    made = case_at(home, CHOOSING)
    assert run(made).failed == {}
    return made


def table(case, name):
    return read_parquet(case.layout.table(name, case.id))[0].to_pylist()


def test_every_pool_has_a_verdict_a_model_and_its_candidates(case):
    assert [row["pool"] for row in table(case, "verdicts")] == ["data_only", "all"]
    for row in table(case, "verdicts"):
        tried = [other for other in table(case, "candidates") if other["pool"] == row["pool"]]
        assert (tried[0]["treatment"], tried[0]["influence_method"], tried[0]["removed"]) == ("finetune", None, 0)
        assert sum(other["chosen"] for other in tried) == (row["verdict"] == "repaired")
    assert {row["treatment"] for row in table(case, "candidates") if row["pool"] == "data_only"} == {
        "finetune",
        "ewc_deletion",
    }


def test_both_pools_are_judged_against_one_control(case):
    one, other = (row for row in table(case, "candidates") if row["influence_method"] is None)
    assert {**one, "pool": None} == {**other, "pool": None}


def test_each_treatment_has_one_chosen_setting_and_each_pool_its_answer(case):
    rows = table(case, "recovery")
    for method in ("ewc", "random"):
        of_method = [row for row in rows if (row["treatment"], row["influence_method"]) == ("ewc_deletion", method)]
        assert [row["chosen"] for row in of_method].count(True) == 1
        assert len(of_method) == 2
    assert [row["chosen"] for row in rows if row["treatment"] == "auto"] == [True, True]


def test_a_random_control_removes_as_many_rows_as_the_rate_allows_ewc(case):
    scores = load_scores(case.influence_path("ewc"), case.data.fit.examples)
    assert scores.probability is not None
    due = len(CHOOSING.causes.causes(scores, planted=0))
    removed = {
        read_repair_record(case.model_path(variant)).removed
        for variant in grid(case)
        if variant.treatment == "finetune" and variant.influence_method
    }
    assert removed == {due}


def test_choosing_reads_no_label_of_the_holdout(case, finished_home, tmp_path):
    home = Path(shutil.copytree(case.layout.home, tmp_path / "home"))  # follows the link: a base of its own
    corrupted = case_at(home, CHOOSING)
    corrupt_the_holdouts_labels(corrupted)
    blind = case_at(home, CHOOSING)
    choosing = [step for step in STEPS if step.name in ("influence_ewc", "repaired_ewc_deletion", "repaired_auto")]
    honest = found([file.path for step in choosing for file in step.files(case)])
    assert_same_bits(found([path for step in choosing for path in step.run(blind, force=True)]), honest)
    for variant in grid(case):
        if variant.treatment == "auto":
            one, other = (read_repair_record(each.model_path(variant)).search for each in (case, blind))
            assert one.tried == other.tried
