"""The peers, against their formulas written out densely."""

import runpy
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.model_selection import StratifiedKFold
from torch import nn

from repair_pipeline.continual.likelihood import Classifier
from repair_pipeline.errors import InputError
from repair_pipeline.influence.external.confident_learning import label_issues
from repair_pipeline.influence.methods import METHODS
from repair_pipeline.training.fit import Schedule
from repair_pipeline.types import QuerySide
from repair_pipeline_tests.oracles import softmax_gradients
from repair_pipeline_tests.problems import blobs, logistic

PACKAGES = {"confident_learning": "cleanlab", "ekfac": "kronfluence", "trak": "trak"}


@pytest.fixture
def logistic_task(task):
    """Multinomial logistic regression, for which every gradient and Fisher is known by hand."""
    tests = QuerySide(query=blobs(9, seed=1), query_tuning=blobs(3, seed=2), guard=blobs(30, seed=3))
    return replace(task, classifier=Classifier(nn.Sequential(logistic())), fit=blobs(2000, seed=4), tests=tests)


def parts(task):
    """Inputs, labels, probabilities and ∇ log p of D, the same of the failures with their guard, and their weights."""
    model = task.classifier.module(task.theta_hat).requires_grad_(False)[0]
    weight, bias = model.weight.numpy(), model.bias.numpy()
    sides = []
    for rows in (task.fit, type(task.fit).concat([task.tests.query, task.tests.guard])):
        x, y = rows.inputs.numpy(), rows.labels.numpy()
        p = np.exp(x @ weight.T + bias)
        sides.append((x, y, p / p.sum(axis=1, keepdims=True), softmax_gradients(weight, bias, x, y)))
    return *sides, np.concatenate([np.ones(9), np.full(30, 9 / 30)])


def test_ekfac_is_linear_influence_under_the_eigenvalue_corrected_fisher(logistic_task):
    pytest.importorskip("kronfluence")
    scores = METHODS["ekfac"]().scores(logistic_task).values.numpy()
    (x, _, p, gradients), (*_, asked), power = parts(logistic_task)
    # The exact Fisher, its expectation over the model's labels taken in full where kronfluence draws one a row.
    n, k = p.shape
    ones = np.concatenate([x, np.ones((n, 1))], axis=1)
    residuals = np.eye(k)[None] - p[:, None, :]  # e_y − p for every y
    outer = np.einsum("ny,nyi,nyj->ij", p, residuals, residuals) / n
    basis_out, basis_in = np.linalg.eigh(outer)[1], np.linalg.eigh(ones.T @ ones / n)[1]
    eigenvalues = np.einsum("ny,nyi,nj->ij", p, (residuals @ basis_out) ** 2, (ones @ basis_in) ** 2) / n
    eigenvalues += 0.1 * eigenvalues.mean()

    def rotated(g):
        matrix = np.concatenate([g[:, : k * x.shape[1]].reshape(len(g), k, -1), g[:, -k:, None]], axis=2)
        return basis_out.T @ matrix @ basis_in

    preconditioned = np.einsum("q,qij->ij", power, rotated(asked)) / eigenvalues
    expected = -np.einsum("nij,ij->n", rotated(gradients), preconditioned) / n
    assert np.linalg.norm(scores - expected) < 0.05 * np.linalg.norm(expected)


def test_trak_is_its_formula_where_the_projection_loses_nothing(logistic_task):
    pytest.importorskip("trak")
    task = replace(logistic_task, fit=logistic_task.fit[:300])
    # Margins do not move when all logits do, so the gradients span (k − 1)(features + 1) = 10 dimensions of 15.
    scores = METHODS["trak"](proj_dim=10).scores(task).values.numpy()
    (_, y, p, gradients), (_, asked_y, asked_p, asked), power = parts(task)
    wrong, asked_wrong = 1 - p[np.arange(len(y)), y], 1 - asked_p[np.arange(len(asked_y)), asked_y]
    features, targets = gradients / wrong[:, None], asked / asked_wrong[:, None]  # ∇ log p/(1 − p)
    expected = -wrong * (features @ np.linalg.pinv(features.T @ features) @ targets.T @ power)
    np.testing.assert_allclose(scores / np.linalg.norm(scores), expected / np.linalg.norm(expected), atol=2e-3)


@pytest.mark.parametrize("proj_dim", [15, 300])
def test_trak_refuses_more_dimensions_than_there_are(logistic_task, proj_dim):
    pytest.importorskip("trak")
    with pytest.raises(InputError, match=f"proj_dim is {proj_dim}, but it must be below both the 2000 rows and the 15"):
        METHODS["trak"](proj_dim=proj_dim).scores(logistic_task)


def test_trak_refuses_to_invert_what_has_no_inverse(logistic_task):
    pytest.importorskip("trak")
    with pytest.raises(FloatingPointError, match="projected to 12 dimensions, do not span them"):
        METHODS["trak"](proj_dim=12).scores(logistic_task)


@pytest.fixture
def short_task(task):
    return replace(task, training=Schedule(learning_rate=0.02, max_epochs=3))


@pytest.fixture
def out_of_sample(short_task):
    """p(y|x) by models that have not seen the row."""
    stream, labels = torch.Generator().manual_seed(0), short_task.fit.labels.numpy()
    folds = StratifiedKFold(5, shuffle=True, random_state=int(torch.randint(2**31, (), generator=stream)))
    probabilities = torch.zeros(len(labels), 3, dtype=torch.float64)
    for train, test in folds.split(labels, labels):
        seen, unseen = short_task.fit[torch.from_numpy(train)], short_task.fit[torch.from_numpy(test)]
        assert not set(seen.ids) & set(unseen.ids)
        model = short_task.training.fit(short_task.untrained(stream), seen, short_task.validation, stream, start="new")
        probabilities[torch.from_numpy(test)] = model(unseen.inputs).softmax(dim=1).detach()
    return probabilities.numpy()


def test_confident_learning_is_cleanlab_on_probabilities_of_models_that_have_not_seen_the_row(
    short_task, out_of_sample
):
    cleanlab = pytest.importorskip("cleanlab.rank")
    labels = short_task.fit.labels.numpy()
    quality = cleanlab.get_label_quality_scores(labels, out_of_sample)
    scores = METHODS["confident_learning"]().scores(short_task).values
    np.testing.assert_allclose(scores, 1 - quality, rtol=1e-9)
    np.testing.assert_allclose(quality, out_of_sample[np.arange(len(labels)), labels], rtol=1e-9)


def test_label_issues_are_those_of_cleanlab_least_confident_first(short_task, out_of_sample):
    cleanlab = pytest.importorskip("cleanlab.filter")
    labels = short_task.fit.labels.numpy()
    issues = label_issues(short_task)
    mask = cleanlab.find_label_issues(labels, out_of_sample, n_jobs=1)
    assert issues.as_set == frozenset(short_task.fit.ids[mask])
    confidence = dict(zip(short_task.fit.ids, out_of_sample[np.arange(len(labels)), labels], strict=True))
    assert 1 < len(issues) < len(labels)
    assert [confidence[name] for name in issues.ids] == sorted(confidence[name] for name in issues.ids)


@pytest.mark.parametrize(("name", "package"), PACKAGES.items())
def test_progress_ends_at_its_total(logistic_task, name, package):
    pytest.importorskip(package)
    seen = []
    few = replace(logistic_task, fit=logistic_task.fit[:100], validation=blobs(9, seed=5))
    few = replace(few, untrained=lambda generator: nn.Sequential(logistic()), training=Schedule(max_epochs=1))
    METHODS[name](**({"proj_dim": 5} if name == "trak" else {})).scores(
        replace(few, progress=lambda done, total: seen.append((done, total)))
    )
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert {total for _, total in seen} == {seen[-1][0]}


@pytest.mark.parametrize(("name", "package"), PACKAGES.items())
def test_a_missing_package_is_named_with_the_command_that_installs_it(logistic_task, name, package, monkeypatch):
    imported = [module for module in sys.modules if module.partition(".")[0] == package]
    for module in [package, *imported]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=r"pip install 'repair_pipeline\[peers\]'") as raised:
        METHODS[name]().scores(logistic_task)
    assert package in str(raised.value)


@pytest.mark.parametrize("module", ["confident_learning", "ekfac", "trak"])
def test_no_peer_is_imported_before_it_computes(module, monkeypatch):
    for package in PACKAGES.values():
        monkeypatch.setitem(sys.modules, package, None)
    # What the import hook compiles for the tests would be kept as the module's own, and fail in a process without it.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    settings = runpy.run_module(f"repair_pipeline.influence.external.{module}")
    assert {"confident_learning": "ConfidentLearning", "ekfac": "EKFAC", "trak": "TRAK"}[module] in settings


@pytest.mark.parametrize(
    ("name", "settings"), [("trak", {"proj_dim": 1}), ("ekfac", {"damping": 1}), ("trak", {"guard": "nested"})]
)
def test_settings_are_checked_without_the_packages(name, settings):
    with pytest.raises(ValidationError):
        METHODS[name](**settings)


def test_ekfac_says_when_it_knows_no_layer_of_the_model(logistic_task):
    pytest.importorskip("kronfluence")

    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(3, dtype=torch.float64))

        def forward(self, x):
            return x[:, :3] * self.scale

    with pytest.raises(InputError, match=r"ekfac supports nn\.Linear and nn\.Conv2d"):
        METHODS["ekfac"]().scores(replace(logistic_task, classifier=Classifier(Scaled())))
