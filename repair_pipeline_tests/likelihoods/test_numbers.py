"""Laws of the likelihoods of a regression, against torch's distributions and the algebra of linear models."""

import pytest
import torch
from scipy.integrate import quad
from torch import nn
from torch.distributions import Normal, StudentT

from repair_pipeline.continual.curvature import ggn
from repair_pipeline.continual.ewc import EWC
from repair_pipeline.continual.fisher import fisher_diagonal, labels_of
from repair_pipeline.continual.kfac import kfac
from repair_pipeline.continual.learner import forget, learn
from repair_pipeline.continual.likelihood import Classifier
from repair_pipeline.continual.posterior import Dense, Laplace
from repair_pipeline.datasets.labels import label_of, members, strata, texts
from repair_pipeline.errors import InputError
from repair_pipeline.likelihoods.likelihoods import canonical, likelihood
from repair_pipeline.likelihoods.reading import with_logits
from repair_pipeline.problem.fitting import require_fitting
from repair_pipeline.problem.suggestions import harm, suggestions
from repair_pipeline.training.fit import Schedule, accuracy, logits, measured, right
from repair_pipeline.types import OutOfFold
from repair_pipeline_tests.oracles import Newton
from repair_pipeline_tests.problems import examples, seeded

SIGMA, DEGREES = 0.7, 3.0
GAUSSIAN = likelihood({"gaussian": {"tolerance": 0.5, "sigma": SIGMA}})
STUDENT = likelihood({"student_t": {"tolerance": 0.5, "sigma": SIGMA, "degrees": DEGREES}})
DENSITIES = {
    "gaussian": (GAUSSIAN, lambda centre: Normal(centre, SIGMA)),
    "student_t": (STUDENT, lambda centre: StudentT(DEGREES, centre, SIGMA)),
}


@pytest.fixture(params=DENSITIES)
def density(request):
    return DENSITIES[request.param]


def rows(count=23, seed=0, features=3):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, features, dtype=torch.float64, generator=generator)
    return examples(inputs, inputs.sum(dim=1) + torch.randn(count, dtype=torch.float64, generator=generator))


def net(flat=False):
    model = seeded(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)))
    return nn.Sequential(model, nn.Flatten(0)) if flat else model


def loop(classifier, theta, data, of):
    """∇ of a value of each row, by autograd, one row after the other."""
    found = []
    for at in range(len(data)):
        row, here = data[at : at + 1], theta.clone().requires_grad_()
        (slope,) = torch.autograd.grad(of(classifier.logits(here, row.inputs).reshape(()), row.labels[0]), here)
        found.append(slope)
    return torch.stack(found)


@pytest.mark.parametrize("flat", [False, True], ids=["n×1", "n"])
def test_log_p_is_torchs_relative_to_the_mode_and_its_gradients_are_a_loops(density, flat):
    task, made = density
    classifier, data = Classifier(net(flat), task), rows()
    theta = classifier.theta_hat
    centre = classifier.logits(theta, data.inputs).reshape(-1)
    due = made(centre).log_prob(data.labels) - made(centre).log_prob(centre)
    torch.testing.assert_close(classifier(theta, data), due, rtol=1e-12, atol=1e-12)
    expected = loop(classifier, theta, data, lambda f, y: made(f).log_prob(y) - made(f).log_prob(f))
    torch.testing.assert_close(classifier.gradients(theta, data), expected, rtol=1e-10, atol=1e-12)


def information(made):
    """The expected squared slope of log p by the centre, by numerical integration."""
    centre = torch.zeros((), dtype=torch.float64, requires_grad=True)

    def integrand(y):
        log_p = made(centre).log_prob(torch.tensor(y, dtype=torch.float64))
        (slope,) = torch.autograd.grad(log_p, centre)
        return (log_p.exp() * slope.square()).item()

    return quad(integrand, -60, 60, limit=400, points=[0.0])[0]


def test_fisher_and_curvature_are_the_jacobians_square_times_the_information(density):
    task, made = density
    classifier, data = Classifier(net(), task), rows(9)
    theta = classifier.theta_hat
    jacobian = loop(classifier, theta, data, lambda f, y: f)
    full = information(made) * jacobian.T @ jacobian / len(data)
    if task is GAUSSIAN:
        torch.testing.assert_close(full, jacobian.T @ jacobian / SIGMA**2 / len(data), rtol=1e-6, atol=1e-9)
    labels = labels_of("expected", classifier, torch.Generator())
    diagonal = fisher_diagonal(classifier, theta, data, 4, labels=labels)
    torch.testing.assert_close(diagonal, full.diagonal(), rtol=1e-4, atol=1e-9)
    curvature = ggn(classifier, theta, data)
    products = torch.stack([curvature.product(unit) for unit in torch.eye(len(theta), dtype=torch.float64)])
    torch.testing.assert_close(products, full, rtol=1e-4, atol=1e-8)


def test_a_drawn_fisher_tends_to_the_expected_one(density):
    task, _ = density
    classifier, one = Classifier(seeded(nn.Linear(3, 1)), task), rows(1)
    many = examples(one.inputs.repeat(20_000, 1), one.labels.repeat(20_000))
    theta, generator = classifier.theta_hat, torch.Generator().manual_seed(0)
    drawn = fisher_diagonal(classifier, theta, many, 20_000, labels=labels_of("monte_carlo", classifier, generator))
    expected = fisher_diagonal(classifier, theta, one, labels=labels_of("expected", classifier, generator))
    torch.testing.assert_close(drawn, expected, rtol=0.05, atol=0)


def test_kfac_of_one_row_is_exact(density):
    classifier, row = Classifier(seeded(nn.Linear(3, 1)), density[0]), rows(1)
    theta, labels = classifier.theta_hat, labels_of("expected", classifier, torch.Generator())
    exact = ggn(classifier, theta, row)
    for delta in torch.eye(len(theta), dtype=torch.float64):
        actual = kfac(classifier, theta, row, labels=labels).quadratic(delta)
        torch.testing.assert_close(actual, exact.quadratic(delta), rtol=1e-9, atol=1e-12)


def test_the_divergence_is_torchs_and_to_second_order_the_curvature(density):
    task, made = density
    before, after = torch.zeros(1, dtype=torch.float64), torch.full((1,), 0.4, dtype=torch.float64)

    def integrand(y):
        y = torch.tensor(y, dtype=torch.float64)
        held = made(before).log_prob(y)
        return (held.exp() * (held - made(after).log_prob(y))).item()

    due = quad(integrand, -60, 60, limit=400, points=[0.0])[0]
    assert task.divergence(before, after, before).item() == pytest.approx(due, rel=3e-3)
    near = before + 1e-3
    assert task.divergence(before, near, before).item() == pytest.approx(0.5e-6 * information(made), rel=5e-3)


def linear(data):
    """The linear model of least squares, with an intercept, and its design matrix."""
    design = torch.cat([data.inputs, torch.ones(len(data), 1, dtype=torch.float64)], dim=1)
    return torch.linalg.lstsq(design, data.labels[:, None]).solution[:, 0], design


def test_forgetting_a_row_is_least_squares_without_it():
    # For a linear Gaussian model EWC with the full precision is exact: influence by leaving out, without retraining.
    data = rows(12)
    theta, design = linear(data)
    classifier = Classifier(nn.Linear(3, 1).double(), GAUSSIAN)
    q = Laplace(theta, Dense(design.T @ design / SIGMA**2))
    for at in range(len(data)):
        left = forget(EWC(Newton()), q, data[at : at + 1], classifier)
        rest = torch.arange(len(data)) != at
        torch.testing.assert_close(left.mean, linear(data[rest])[0], rtol=1e-8, atol=1e-8)


def test_learning_rows_is_least_squares_with_them():
    data = rows(12)
    theta, design = linear(data[:8])
    q = Laplace(theta, Dense(design.T @ design / SIGMA**2))
    learnt = learn(EWC(Newton()), q, data[8:], Classifier(nn.Linear(3, 1).double(), GAUSSIAN))
    both, whole = linear(data)
    torch.testing.assert_close(learnt.mean, both, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(learnt.precision.matrix, whole.T @ whole / SIGMA**2, rtol=1e-8, atol=1e-8)


def test_a_row_is_right_up_to_the_tolerance(density):
    task, _ = density
    model, data = task.on(seeded(nn.Linear(3, 1))), rows()
    errors = (logits(model, data)[:, 0] - data.labels).abs()
    assert torch.equal(right(model, data), errors <= 0.5)
    assert 0 < accuracy(model, data) == (errors <= 0.5).double().mean().item() < 1
    assert measured(model, [(1, data)]) == pytest.approx(errors.mean().item())
    assert torch.equal(task.lost_by(logits(model, data), data.labels) > 0, errors > 0.5)
    assert right(model, examples(data.inputs, logits(model, data)[:, 0] + 0.5 - 1e-9)).all()


def test_sigma_is_estimated_from_the_middle_of_the_errors(density):
    _, made = density
    name = "gaussian" if made(torch.zeros(1)).__class__ is Normal else "student_t"
    unfitted = likelihood({name: {"tolerance": 0.5} | ({} if name == "gaussian" else {"degrees": DEGREES})})
    centre = torch.zeros(40_000, dtype=torch.float64)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        errors = made(centre).sample()
    assert unfitted.fitted(centre, errors).sigma == pytest.approx(SIGMA, rel=0.03)
    errors[:4000] += 100  # a tenth is wrong
    assert unfitted.fitted(centre, errors).sigma == pytest.approx(SIGMA, rel=0.2)
    with pytest.raises(InputError, match="exact on half of the validation rows, so that sigma cannot be estimated"):
        unfitted.fitted(centre, torch.zeros_like(centre))
    with pytest.raises(InputError, match="outputs on the validation rows are not finite: give weights that work"):
        unfitted.fitted(torch.full_like(centre, torch.nan), torch.zeros_like(centre))


def test_training_finds_least_squares_and_students_t_bears_outliers():
    data = rows(200)
    theta, _ = linear(data)
    fitted = {}
    wrong = data.labels.clone()
    wrong[:30] += 50
    for name, (task, _) in DENSITIES.items():
        for kind, labels in (("clean", data.labels), ("outliers", wrong)):
            train = examples(data.inputs, labels)
            start = task.on(seeded(nn.Linear(3, 1)))
            generator = torch.Generator().manual_seed(0)
            model = Schedule(learning_rate=0.02, max_epochs=60, patience=60).fit(
                start, train, train, generator, start="new"
            )
            fitted[name, kind] = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
    torch.testing.assert_close(fitted["gaussian", "clean"], theta, rtol=0, atol=0.1)
    assert (fitted["student_t", "outliers"] - theta).abs().max() < 0.3
    assert (fitted["gaussian", "outliers"] - theta).abs().max() > 1


def test_a_suggestion_is_what_models_say_that_did_not_see_the_row():
    true = torch.linspace(-3, 3, 400, dtype=torch.float64)
    given = true.clone()
    given[::10] += 4
    predicted = OutOfFold(true + 0.01, true[::2] + 0.01, true[::2], failures=40)
    values, harmful = harm(GAUSSIAN, predicted, given, 0.2)
    made = suggestions(GAUSSIAN, predicted, given, harmful, 0.2)
    wrong = given != true
    assert values[wrong].min() > values[~wrong].max()
    assert harmful[wrong].min() > 0.9 > 0.1 > harmful[~wrong].max()
    assert (made.labels - true).abs().max() <= 0.02  # rounded to a hundredth, far below the tolerance of a half
    torch.testing.assert_close(made.probability, harmful)  # all clean rows were right
    soft = made.soft_labels(given, harmful)
    torch.testing.assert_close(soft, (1 - harmful) * given + harmful * (true + 0.01))
    whole = suggestions(GAUSSIAN, predicted, given.round(), harmful, 0.2)
    assert torch.equal(whole.labels, whole.labels.round())  # as all labels are


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("gaussian", "write {gaussian: {tolerance: …}}"),
        ({"gaussian": {}}, r"gaussian.tolerance: missing: give the largest error"),
        ({"gaussian": {"tolerance": 0}}, "gaussian.tolerance: input should be greater than 0"),
        (
            {"student_t": {"tolerance": 1, "nu": 3}},
            "student_t.nu: no setting of student_t: it has tolerance",
        ),
        ({"softmax": {}}, "softmax has no settings"),
        ({"gaussian": {"tolerance": 1}, "softmax": {}}, r"2 likelihoods are named \(gaussian, softmax\): name one"),
        (3, "a likelihood is a name, or a name with settings, not 3"),
    ],
)
def test_what_is_no_likelihood_is_refused_in_a_line(given, says):
    with pytest.raises(InputError, match=says):
        canonical(given)


def test_settings_at_their_defaults_make_no_other_id():
    assert canonical({"student_t": {"tolerance": 2, "sigma": None, "degrees": 4}}) == {"student_t": {"tolerance": 2.0}}
    assert canonical("softmax") is None


@pytest.mark.parametrize("outputs", [3, 2])
def test_a_model_of_several_outputs_is_refused(outputs):
    model = with_logits(nn.Linear(3, outputs).double(), rows(3).inputs, 0, GAUSSIAN)
    with pytest.raises(InputError, match=rf"shape \(2, {outputs}\) for 2 rows, expected \(2, 1\) or \(2,\), a number"):
        require_fitting(model, rows(), ())


def test_smoothing_is_refused():
    with pytest.raises(InputError, match=r"training\.label_smoothing is set, but a number cannot be smoothed"):
        GAUSSIAN.loss(torch.zeros(2), torch.zeros(2), smoothing=0.1)


def test_numbers_are_written_and_read_back_and_split_by_quarters():
    labels = torch.tensor([3.0, 0.1, -2.5, 40, 7, 8, 9, 1e-3], dtype=torch.float64)
    written = texts(labels, ())
    assert written[:4] == ["3", "0.1", "-2.5", "40"]
    assert [label_of(text, (), labels[0]).item() for text in written] == labels.tolist()
    assert label_of("many", (), labels[0]) is None
    assert label_of("inf", (), labels[0]) is None
    assert strata(labels).bincount().tolist() == [2, 2, 2, 2]
    assert {name: int(mask.sum()) for name, mask in members(labels, ()).items()} == {
        "-2.5 to 0.001": 2,
        "0.1 to 3": 2,
        "7 to 8": 2,
        "9 to 40": 2,
    }
