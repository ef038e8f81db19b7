"""K-FAC, against dense Fishers where it is exact and against Kronecker products formed by loops where it is not."""

import pytest
import torch
from torch import nn

from repair_pipeline.continual.ewc import EWC
from repair_pipeline.continual.fisher import fisher_diagonal, labels_of
from repair_pipeline.continual.kfac import kfac
from repair_pipeline.continual.learner import learn
from repair_pipeline.continual.likelihood import Classifier
from repair_pipeline.continual.posterior import Laplace, Scaled
from repair_pipeline.errors import InputError
from repair_pipeline_tests.oracles import Newton
from repair_pipeline_tests.problems import blobs, examples, logistic, seeded

ROWS = blobs(9, seed=1)
GAMMA, PRIOR = 0.3, 0.7
KINDS = ["empirical", "expected", "monte_carlo"]


def images(count, size=4):
    inputs = torch.randn(count, 2, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    return examples(inputs, torch.arange(count) % 3)


def perceptron():
    return seeded(nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3, bias=False)))


def convolutions():
    return seeded(
        nn.Sequential(
            nn.Conv2d(2, 3, kernel_size=3, stride=2, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(3, 4, kernel_size=(1, 2), dilation=(1, 1), bias=False),
            nn.Tanh(),
            nn.Flatten(),
            nn.Linear(8, 3),
        )
    )


def matrix(precision, p):
    """The precision as a matrix: a quadratic form's values at e_i, e_j and e_i + e_j give it away."""
    at = torch.eye(p, dtype=torch.float64)
    alone = torch.stack([precision.quadratic(unit) for unit in at])
    pairs = torch.stack([torch.stack([precision.quadratic(one + other) for other in at]) for one in at])
    return (pairs - alone[:, None] - alone[None, :]) / 2


def dense(classifier, rows, kind="empirical"):
    """The mean of w ∇log p ∇log pᵀ, per-sample gradients and all."""
    total = 0
    for labelled, weights in labels_of(kind, classifier, torch.Generator().manual_seed(0))(classifier.theta_hat, rows):
        gradients = classifier.gradients(classifier.theta_hat, labelled)
        total = total + gradients.T @ (weights[:, None] * gradients)
    return total / len(rows)


def of_kind(kind, classifier, rows, **settings):
    labels = labels_of(kind, classifier, torch.Generator().manual_seed(0))
    return kfac(classifier, classifier.theta_hat, rows, labels=labels, **settings)


def precision_of(kind, classifier, rows):
    return Scaled(of_kind(kind, classifier, rows), 2 / GAMMA, PRIOR)


def assert_blocks(precision, truth, sizes):
    """Equal within every layer, nothing between them, (2/γ) times the truth and λ on the diagonal."""
    p = sum(sizes)
    blocks = torch.block_diag(*(torch.ones(size, size, dtype=torch.float64) for size in sizes))
    torch.testing.assert_close(
        matrix(precision, p),
        2 / GAMMA * truth * blocks + PRIOR * torch.eye(p, dtype=torch.float64),
        rtol=1e-8,
        atol=1e-10,
    )


@pytest.mark.parametrize("kind", ["empirical", "monte_carlo"])
def test_one_row_at_one_label_has_the_fishers_own_blocks(kind):
    classifier, rows = Classifier(perceptron()), ROWS[:1]
    assert_blocks(precision_of(kind, classifier, rows), dense(classifier, rows, kind), [4 * 5 + 5, 5 * 3])


@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_that_reads_the_same_in_every_row_has_the_fishers_own_block(kind):
    same = torch.randn(1, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).repeat(9, 1)
    classifier, rows = Classifier(logistic()), examples(same, ROWS.labels)
    assert_blocks(precision_of(kind, classifier, rows), dense(classifier, rows, kind), [15])


def test_a_convolution_with_one_position_has_the_fishers_own_block():
    model = seeded(nn.Sequential(nn.Conv2d(2, 3, kernel_size=2), nn.Flatten()))
    classifier, rows = Classifier(model), images(1, size=2)
    assert_blocks(precision_of("empirical", classifier, rows), dense(classifier, rows), [2 * 4 * 3 + 3])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("model", "rows"), [(perceptron, ROWS), (convolutions, images(6))], ids=["linear", "conv"])
def test_factors_are_loops_over_rows_labels_and_positions(model, rows, kind):
    model = model()
    classifier = Classifier(model)
    labellings = list(labels_of(kind, classifier, torch.Generator().manual_seed(0))(classifier.theta_hat, rows))
    layers = [layer for layer in model if isinstance(layer, nn.Linear | nn.Conv2d)]
    expected = [[0, 0] for _ in layers]
    for row in range(len(rows)):
        x, kept = rows.inputs[row : row + 1], []
        for layer in model:
            if layer in layers:
                kept.append((layer, x, layer(x)))
                x = kept[-1][2].clone()  # as the ReLU that follows overwrites what it is given
            else:
                x = layer(x)
        for at, (layer, into, out) in enumerate(kept):
            for a in patches(layer, into.detach()[0]):
                expected[at][0] = expected[at][0] + torch.outer(a, a) / len(rows)
            for labelled, weights in labellings:
                (gradient,) = torch.autograd.grad(x.log_softmax(1)[0, labelled.labels[row]], out, retain_graph=True)
                positions = gradient[0].reshape(len(gradient[0]), -1).T
                for g in positions:
                    share = weights[row] / len(positions) / len(rows)
                    expected[at][1] = expected[at][1] + share * torch.outer(g, g)
    curvature = of_kind(kind, classifier, rows, batch_size=4 if kind == "expected" else len(rows))
    for block, (inputs, outputs) in zip(curvature.blocks, expected, strict=True):
        torch.testing.assert_close(block.inputs, inputs, rtol=1e-10, atol=1e-14)
        torch.testing.assert_close(block.outputs, outputs, rtol=1e-10, atol=1e-14)


def patches(layer, x):
    """What the layer multiplies by its flattened weight, position by position, cut out by hand."""
    one = [] if layer.bias is None else [torch.ones(1, dtype=x.dtype)]
    if isinstance(layer, nn.Linear):
        return [torch.cat([x, *one])]
    (ph, pw), (sh, sw), (kh, kw) = layer.padding, layer.stride, layer.kernel_size
    x = nn.functional.pad(x, (pw, pw, ph, ph))
    rows, columns = range(0, x.shape[1] - kh + 1, sh), range(0, x.shape[2] - kw + 1, sw)
    return [torch.cat([x[:, i : i + kh, j : j + kw].flatten(), *one]) for i in rows for j in columns]


def dense_blocks(curvature, p):
    """The matrix of the Kronecker products, or of the curvature along their eigenvectors."""
    total = torch.diag(curvature.diagonal)
    for block in curvature.blocks:
        # Row-major vec: entry (o, i) of the weight stands at o · |a| + i, the bias of o after its row.
        weights = torch.arange(block.weight.start, block.weight.stop).view(len(block.outputs), -1)
        index = (
            weights
            if block.bias is None
            else torch.cat([weights, torch.arange(block.bias.start, block.bias.stop)[:, None]], dim=1)
        ).flatten()
        assert len(index) == len(block.outputs) * len(block.inputs)
        product = torch.kron(block.outputs, block.inputs)
        if block.moments is not None:
            basis = torch.kron(*(torch.linalg.eigh(factor).eigenvectors for factor in (block.outputs, block.inputs)))
            product = basis @ torch.diag(block.moments.flatten()) @ basis.T
        total[index[:, None], index[None, :]] += product
    assert len(total) == p
    return total


@pytest.mark.parametrize("corrected", [False, True], ids=["kfac", "ekfac"])
def test_quadratic_form_and_inverse_are_those_of_the_dense_matrix(corrected):
    classifier = Classifier(convolutions())
    curvature = of_kind("empirical", classifier, images(6), corrected=corrected)
    p = len(classifier.theta_hat)
    total = dense_blocks(curvature, p)
    v = torch.randn(2, p, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    torch.testing.assert_close(curvature.quadratic(v[0]), v[0] @ total @ v[0], rtol=1e-10, atol=0)
    damped = total + 0.3 * torch.eye(p, dtype=torch.float64)
    torch.testing.assert_close(curvature.solve(0.3, v), torch.linalg.solve(damped, v.T).T, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", ["empirical", "expected"])
@pytest.mark.parametrize(("model", "rows"), [(perceptron, ROWS), (convolutions, images(6))], ids=["linear", "conv"])
def test_ekfac_has_the_fishers_own_curvature_along_the_factors_eigenvectors(model, rows, kind):
    classifier = Classifier(model())
    curvature = of_kind(kind, classifier, rows, corrected=True)
    plain = of_kind(kind, classifier, rows)
    fisher = dense(classifier, rows, kind)
    for block in curvature.blocks:
        index = torch.arange(block.weight.start, block.weight.stop).view(len(block.outputs), -1)
        if block.bias is not None:
            index = torch.cat([index, torch.arange(block.bias.start, block.bias.stop)[:, None]], dim=1)
        basis = torch.kron(*(torch.linalg.eigh(factor).eigenvectors for factor in (block.outputs, block.inputs)))
        own = fisher[index.flatten()[:, None], index.flatten()[None, :]]
        torch.testing.assert_close(block.moments.flatten(), (basis.T @ own @ basis).diagonal(), rtol=1e-8, atol=1e-12)
        # So of all matrices with these eigenvectors it is the closest; K-FAC is one of them.
        p = len(classifier.theta_hat)
        at = index.flatten()
        errors = [(dense_blocks(each, p)[at[:, None], at[None, :]] - own).norm() for each in (curvature, plain)]
        assert errors[0] <= errors[1]


def test_other_layers_keep_the_fishers_diagonal():
    model = seeded(nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5), nn.Linear(5, 3)))
    classifier = Classifier(model)
    curvature = of_kind("expected", classifier, ROWS)
    labels = labels_of("expected", classifier, torch.Generator())
    fisher = fisher_diagonal(classifier, classifier.theta_hat, ROWS, labels=labels)
    expected = torch.zeros_like(fisher)
    expected[25:35] = fisher[25:35]
    torch.testing.assert_close(curvature.diagonal, expected, rtol=1e-10, atol=0)
    assert [block.weight for block in curvature.blocks] == [slice(0, 20), slice(35, 50)]


def test_convolutions_in_groups_keep_the_fishers_diagonal():
    classifier = Classifier(seeded(nn.Sequential(nn.Conv2d(2, 6, 4, groups=2), nn.Flatten(), nn.Linear(6, 3))))
    curvature = of_kind("empirical", classifier, images(4))
    fisher = fisher_diagonal(classifier, classifier.theta_hat, images(4))
    torch.testing.assert_close(curvature.diagonal[:102], fisher[:102], rtol=1e-10, atol=0)
    assert len(curvature.blocks) == 1


class Tied(nn.Module):
    """Two layers with one weight."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.last(torch.tanh(self.second(torch.tanh(self.first(x)))))


def used_twice():
    shared = nn.Linear(4, 4)
    return nn.Sequential(shared, nn.Tanh(), shared, nn.Tanh(), nn.Linear(4, 3))


@pytest.mark.parametrize("make", [used_twice, Tied])
def test_a_weight_used_twice_keeps_the_fishers_diagonal(make):
    classifier = Classifier(seeded(make()))
    curvature = of_kind("empirical", classifier, ROWS)
    p = len(classifier.theta_hat)
    fisher = fisher_diagonal(classifier, classifier.theta_hat, ROWS)
    torch.testing.assert_close(curvature.diagonal[: p - 15], fisher[: p - 15], rtol=1e-10, atol=0)
    assert [block.weight for block in curvature.blocks] == [slice(p - 15, p - 3)]


@pytest.mark.parametrize("corrected", [False, True], ids=["kfac", "ekfac"])
def test_a_frozen_bias_is_no_column_of_its_block(corrected):
    model = perceptron()
    model[0].bias.requires_grad_(False)
    classifier = Classifier(model)
    curvature = of_kind("empirical", classifier, ROWS, corrected=corrected)
    free = of_kind("empirical", Classifier(perceptron()), ROWS)
    assert curvature.blocks[0].bias is None
    torch.testing.assert_close(curvature.blocks[0].inputs, free.blocks[0].inputs[:4, :4], rtol=1e-12, atol=0)
    v = torch.linspace(-1, 1, len(classifier.theta_hat), dtype=torch.float64)
    damped = dense_blocks(curvature, len(v)) + 0.1 * torch.eye(len(v), dtype=torch.float64)
    torch.testing.assert_close(curvature.solve(0.1, v), torch.linalg.solve(damped, v), rtol=1e-9, atol=1e-12)


def test_a_frozen_weight_leaves_its_bias_the_fishers_diagonal():
    model = perceptron()
    model[0].weight.requires_grad_(False)
    classifier = Classifier(model)
    curvature = of_kind("empirical", classifier, ROWS)
    fisher = fisher_diagonal(classifier, classifier.theta_hat, ROWS)
    torch.testing.assert_close(curvature.diagonal[:5], fisher[:5], rtol=1e-10, atol=0)
    assert len(curvature.blocks) == 1


def test_a_model_without_such_layers_raises():
    classifier = Classifier(seeded(nn.LayerNorm(4)))
    with pytest.raises(InputError, match="no adapted layer"):
        of_kind("empirical", classifier, ROWS)


def test_factors_that_weigh_nothing_raise():
    classifier = Classifier(logistic())
    theta = torch.zeros(15, dtype=torch.float64)
    theta[12] = 1e4  # class 0 for certain
    with pytest.raises(FloatingPointError, match="K-FAC"):
        kfac(classifier, theta, examples(ROWS.inputs, torch.zeros_like(ROWS.labels)))


def test_what_is_learnt_is_a_stationary_point_of_the_factored_penalty():
    classifier, failures = Classifier(logistic()), blobs(7, seed=2)
    precision = precision_of("expected", classifier, ROWS)
    learned = learn(EWC(Newton(), "frozen"), Laplace(classifier.theta_hat, precision), failures, classifier).mean
    pull = matrix(precision, 15) @ (learned - classifier.theta_hat)
    torch.testing.assert_close(classifier.gradients(learned, failures).sum(dim=0), pull, rtol=0, atol=1e-9)


def test_an_update_of_the_precision_raises():
    classifier = Classifier(logistic())
    q = Laplace(classifier.theta_hat, precision_of("expected", classifier, ROWS))
    with pytest.raises(NotImplementedError, match="frozen"):
        learn(EWC(Newton()), q, ROWS, classifier)
