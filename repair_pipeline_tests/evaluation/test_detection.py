"""Detection, against counting."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from repair_pipeline.evaluation.detection import Detection, detect, detection_curve
from repair_pipeline.problem.causes import CausesRule
from repair_pipeline.types import Causes, InfluenceScores
from repair_pipeline_tests import oracles

IDS = np.array([f"z{at:02d}" for at in range(12)])
PLANTED = torch.tensor([1, 0, 0, 1, 0, 1, 0, 0, 0, 1, 0, 0], dtype=torch.bool)


def scored(values):
    return InfluenceScores(IDS[: len(values)], torch.tensor(values, dtype=torch.float64))


ties = st.lists(st.integers(-2, 2).map(float), min_size=12, max_size=12)


@given(ties)
def test_auc_counts_pairs_in_order(values):
    detection = detect(scored(values), PLANTED, Causes(()))
    assert detection.auc == pytest.approx(oracles.auc(np.array(values), PLANTED.numpy()), abs=1e-12)


@given(st.permutations([float(value) for value in range(12)]))
def test_average_precision_is_the_mean_precision_at_the_planted_rows(values):
    scores = scored(values)
    detection = detect(scores, PLANTED, Causes(()))
    assert detection.average_precision == pytest.approx(
        oracles.average_precision(PLANTED.numpy()[scores.order]), abs=1e-12
    )


@given(ties, st.integers(1, 11))
def test_precision_and_recall_count_the_planted_among_the_causes(values, top):
    scores = scored(values)
    causes = CausesRule(top=top).causes(scores, planted=4)
    detection = detect(scores, PLANTED, causes)
    hits = len(set(causes.ids) & set(IDS[PLANTED.numpy()]))
    assert (detection.precision, detection.recall) == (hits / top, hits / 4)
    assert (detection.n_corrupted, detection.n_causes) == (4, top)
    first = CausesRule(top=4).causes(scores, planted=4)
    assert detection.precision_at_n == len(set(first.ids) & set(IDS[PLANTED.numpy()])) / 4


@pytest.mark.parametrize(("sign", "value"), [(1, 1.0), (-1, 0.0)])
def test_auc_is_one_where_harmful_is_positive(sign, value):
    assert detect(scored((sign * PLANTED.double()).tolist()), PLANTED, Causes(())).auc == value


def test_no_causes_have_no_precision():
    detection = detect(scored(list(range(12))), PLANTED, Causes(()))
    assert (detection.n_causes, detection.precision, detection.recall) == (0, None, 0)


def test_nothing_planted_is_nothing_to_measure():
    detection = detect(scored([1.0, 2.0]), torch.zeros(2, dtype=torch.bool), Causes(("z00",)))
    assert detection == Detection(None, None, None, 0, 1, None, None)


@given(ties, st.integers(1, 30))
def test_the_curve_counts_planted_rows_from_none_to_all(values, points):
    scores = scored(values)
    inspected, hits = detection_curve(scores, PLANTED, points)
    assert (inspected[0], hits[0]) == (0, 0)
    assert (inspected[-1], hits[-1]) == (12, 4)
    assert (np.diff(inspected) > 0).all()
    assert len(inspected) <= points + 1
    ranked = PLANTED.numpy()[scores.order]
    assert hits.tolist() == [int(ranked[:at].sum()) for at in inspected]
