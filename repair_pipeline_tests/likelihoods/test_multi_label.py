"""Laws of the likelihood of sets of classes, against torch's losses, all subsets, and scikit-learn."""

from itertools import product

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from sklearn.metrics import f1_score
from torch import nn

from repair_pipeline.cases.spec import parse_spec
from repair_pipeline.continual.likelihood import Classifier
from repair_pipeline.datasets.labels import members, strata, texts
from repair_pipeline.datasets.patching import apply_patch, revert_patch
from repair_pipeline.datasets.user_data import UserData, read
from repair_pipeline.errors import InputError
from repair_pipeline.likelihoods.likelihoods import likelihood
from repair_pipeline.training.fit import logits, measured, of_rows, right
from repair_pipeline.types import LabelForm
from repair_pipeline_tests.likelihoods.fisher import assert_fisher_is
from repair_pipeline_tests.problems import examples, seeded

TASK = likelihood("multi_label")


def rows(count=12, classes=3):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(count, 4, dtype=torch.float64, generator=generator)
    return examples(inputs, torch.rand(count, classes, generator=generator) < 0.4)


@pytest.fixture
def classifier():
    return Classifier(TASK.on(seeded(nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 3)))))


def log_p(classifier, theta, inputs, labels):
    outputs = classifier.logits(theta, inputs)
    return -nn.functional.binary_cross_entropy_with_logits(outputs, labels.double(), reduction="none").sum(dim=1)


def test_log_p_is_torchs_and_its_gradients_are_a_loops(classifier):
    data, theta = rows(), classifier.theta_hat
    torch.testing.assert_close(classifier(theta, data), log_p(classifier, theta, data.inputs, data.labels))
    for at, gradient in enumerate(classifier.gradients(theta, data)):
        here = theta.clone().requires_grad_()
        value = log_p(classifier, here, data.inputs[at : at + 1], data.labels[at : at + 1]).sum()
        torch.testing.assert_close(gradient, torch.autograd.grad(value, here)[0], rtol=1e-9, atol=1e-12)


def test_fisher_and_curvature_are_sums_over_all_subsets(classifier):
    data, theta, full = rows(5), classifier.theta_hat, 0
    for chosen in product([False, True], repeat=3):
        labels = torch.tensor(chosen).expand(5, 3)
        slopes = torch.autograd.functional.jacobian(
            lambda at, labels=labels: log_p(classifier, at, data.inputs, labels), theta
        )
        full += slopes.T @ (log_p(classifier, theta, data.inputs, labels).exp()[:, None] * slopes) / 5
    assert_fisher_is(full, classifier, data)


def test_divergence_and_loss_are_torchs():
    generator = torch.Generator().manual_seed(1)
    before, after = (torch.randn(12, 3, dtype=torch.float64, generator=generator) for _ in range(2))
    one, two = (torch.distributions.Bernoulli(logits=of) for of in (before, after))
    due = torch.distributions.kl_divergence(one, two).sum(dim=1)
    labels = rows().labels
    torch.testing.assert_close(TASK.divergence(before, after, labels), due)
    entropy = nn.functional.binary_cross_entropy_with_logits(before, labels.double())
    torch.testing.assert_close(TASK.loss(before, labels), entropy)


def test_a_row_is_right_if_the_set_is_and_the_measure_is_micro_f1():
    data, model = rows(40), TASK.on(seeded(nn.Linear(4, 3)))
    said = logits(model, data) > 0
    assert torch.equal(right(model, data), (said == data.labels).all(dim=1))
    assert 0 < right(model, data).sum() < 40
    assert torch.equal(of_rows(model, data, TASK.lost_by) > 0, ~right(model, data))
    assert measured(model, [(1, data)]) == pytest.approx(f1_score(data.labels, said, average="micro"))


def test_sets_are_written_read_dropped_and_put_back(tmp_path):
    sets = [["10", "2"], [], ["2"], ["1", "10", "2"]]
    columns = {"a": [0.5, 1.5, 2.5, 3.5], "name": list("wxyz")}
    pq.write_table(pa.table({**columns, "label": pa.array(sets, pa.list_(pa.string()))}), tmp_path / "train.parquet")
    (tmp_path / "test.csv").write_text("a,name,label\n5,t,2|1\n6,u,\n")
    spec = UserData("train.parquet", "test.csv", features=("a",), id="name")
    data = read(spec, tmp_path, LabelForm.SET)
    assert data.classes == ("1", "2", "10")
    assert texts(data.train.labels, data.classes) == ["2|10", "", "2", "1|2|10"]
    assert texts(data.test.labels, data.classes) == ["1|2", ""]
    assert {name: mask.tolist() for name, mask in members(data.test.labels, data.classes).items()}["2"] == [True, False]
    assert strata(data.train.labels).tolist() == [0] * 4
    before = (tmp_path / "train.parquet").read_bytes()
    row = {"example_id": "y", "action": "drop", "suggested_label": None, "label": "2"}
    assert apply_patch(spec, tmp_path, pa.Table.from_pylist([row]), "p", form=LabelForm.SET) == (1, 0)
    assert read(spec, tmp_path, LabelForm.SET).train.ids.tolist() == ["w", "x", "z"]
    assert revert_patch(spec, tmp_path, "p").exactly
    assert (tmp_path / "train.parquet").read_bytes() == before
    relabel = {**row, "action": "relabel", "suggested_label": "1"}
    with pytest.raises(InputError, match="gives rows other labels, but one of several parts is not corrected"):
        apply_patch(spec, tmp_path, pa.Table.from_pylist([relabel]), "p", form=LabelForm.SET)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"influence": {"cross_fit": {}}, "treat": []}, "cross_fit asks models for another label of a row, which the"),
        ({"treatments": {"relabel": {}}}, "treatments.relabel asks models for another label"),
        ({"treatments": {"scrub": {}}}, "treatments.scrub needs classes, one for each row, but the likelihood multi_l"),
        ({"likelihood": "causal_lm"}, "the likelihood causal_lm reads prompts and completions: set dataset.text"),
    ],
)
def test_what_does_not_go_with_labels_of_several_parts_is_refused(more, says):
    fields = {
        "name": "sets",
        "dataset": {"train": "train.csv", "test": "test.csv"},
        "model": {"factory": "x:y"},
        "likelihood": "multi_label",
        "influence": {"ewc": {}, "random": {}},
        "treatments": {"base": {}, "finetune": {}},
    }
    with pytest.raises(InputError, match=says):
        parse_spec({**fields, **more})
