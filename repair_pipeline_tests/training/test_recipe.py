"""The owner's recipe, against the same steps written out in numpy."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from repair_pipeline.errors import InputError
from repair_pipeline.training.augment import flips_and_shifts
from repair_pipeline.training.recipe import Recipe, UserRecipe
from repair_pipeline_tests.problems import blobs, logistic, seeded

TRAIN, VALIDATION = blobs(30, seed=1), blobs(9, seed=2)
SOFT = torch.rand(30, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
"""Soft labels, of rows that have a weight each."""


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


def trained(model, fields, rows=TRAIN, augment=None, seed=0, start="new", **settings):
    return Recipe(fields, augment).fit(model, rows, VALIDATION, stream(seed), start=start, **settings)


def same(one, other):
    return all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


def normalised():
    return seeded(nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.3), nn.Linear(6, 3)))


def flat(model):
    return np.concatenate([model.weight.detach().numpy().T, model.bias.detach().numpy()[None]])


def slope(theta, targets):
    """The gradient of the mean cross-entropy of logistic regression on all training rows."""
    inputs = np.concatenate([TRAIN.inputs.numpy(), np.ones((30, 1))], axis=1)
    scores = np.exp(inputs @ theta)
    shares = scores / scores.sum(axis=1, keepdims=True)
    return inputs.T @ (targets.sum(axis=1, keepdims=True) * shares - targets) / 30


def rates(schedule, highest, steps):
    """Loshchilov and Hutter's cosine to 0; torch's documented one-cycle: from 1/25 up, then down to 1/250,000."""

    def between(start, end, share):
        return end + (start - end) * (1 + np.cos(np.pi * share)) / 2

    if schedule == "constant":
        return [highest] * steps
    if schedule == "cosine":
        return [between(highest, 0, step / steps) for step in range(steps)]
    top = 0.3 * steps - 1
    up = [between(highest / 25, highest, step / top) for step in range(steps) if step <= top]
    down = [between(highest, highest / 25e4, (step - top) / (steps - 1 - top)) for step in range(len(up), steps)]
    return up + down


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle"])
@pytest.mark.parametrize("targets", [None, SOFT], ids=["hard", "soft"])
def test_sgd_takes_the_steps_of_its_definition(schedule, targets):
    theta, velocity = flat(logistic()), np.zeros((5, 3))
    labels = np.eye(3)[TRAIN.labels] if targets is None else targets.numpy()
    labels = 0.8 * labels + 0.2 * labels.sum(axis=1, keepdims=True) / 3
    for rate in rates(schedule, 0.3, steps=12):
        velocity = 0.7 * velocity + slope(theta, labels) + 0.05 * theta
        theta = theta - rate * velocity
    fields = UserRecipe(
        epochs=12, optimiser="sgd", learning_rate=0.3, momentum=0.7, weight_decay=0.05, schedule=schedule,
        batch_size=30, label_smoothing=0.2,
    )  # fmt: skip
    np.testing.assert_allclose(flat(trained(logistic(), fields, targets=targets)), theta, rtol=1e-9)


@pytest.mark.parametrize("optimiser", ["adam", "adamw"])
def test_adam_decays_by_the_gradient_and_adamw_by_the_weights(optimiser):
    theta = flat(logistic())
    first, second, labels = 0.0, 0.0, np.eye(3)[TRAIN.labels]
    for step in range(1, 6):
        gradient = slope(theta, labels) + (0.1 * theta if optimiser == "adam" else 0)
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        if optimiser == "adamw":
            theta = theta * (1 - 0.02 * 0.1)
        theta = theta - 0.02 * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
    fields = UserRecipe(epochs=5, optimiser=optimiser, learning_rate=0.02, weight_decay=0.1, batch_size=64)
    np.testing.assert_allclose(flat(trained(logistic(), fields)), theta, rtol=1e-9)


def test_every_epoch_reads_every_row_once_in_another_order():
    seen, generator = [], stream(5)
    sizes, orders = [], []

    def watch(inputs, given):
        assert given is generator
        seen.append(inputs)
        return inputs

    fields = UserRecipe(epochs=2, batch_size=7)
    Recipe(fields, watch).fit(logistic(), TRAIN, VALIDATION, generator, start="new")
    for epoch in (seen[:5], seen[5:]):
        sizes.append([len(batch) for batch in epoch])
        rows = torch.cat(epoch)
        orders.append([(rows[at] == TRAIN.inputs).all(dim=1).nonzero().item() for at in range(30)])
    assert sizes == [[7, 7, 7, 7, 2]] * 2
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(30))
    assert orders[0] != orders[1]


def test_no_row_is_alone_in_a_last_batch_which_batch_normalisation_refuses():
    sizes = []
    fields = UserRecipe(epochs=1, batch_size=29, schedule="one_cycle")
    trained(normalised(), fields, augment=lambda inputs, generator: sizes.append(len(inputs)) or inputs)
    assert sizes == [30]
    sizes.clear()
    trained(logistic(), replace(fields, batch_size=1), augment=lambda x, generator: sizes.append(len(x)) or x)
    assert sizes == [1] * 30


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_one_hot_targets_are_labels(smoothing):
    fields = UserRecipe(epochs=3, batch_size=8, label_smoothing=smoothing)
    hot = nn.functional.one_hot(TRAIN.labels, 3).double()
    by_label, by_target = trained(logistic(), fields), trained(logistic(), fields, targets=hot)
    np.testing.assert_allclose(flat(by_target), flat(by_label), rtol=1e-10)


def test_a_row_of_weight_zero_is_not_learnt_from_even_with_label_smoothing():
    absent = torch.arange(30) < 10
    targets = SOFT * ~absent[:, None]
    inputs = torch.where(absent[:, None], TRAIN.inputs + 3, TRAIN.inputs)
    fields = UserRecipe(epochs=3, batch_size=8, label_smoothing=0.2)
    one, other = (trained(logistic(), fields, rows, targets=targets) for rows in (TRAIN, replace(TRAIN, source=inputs)))
    assert same(one, other)
    assert not same(one, trained(logistic(), fields, targets=SOFT))


@pytest.mark.parametrize("start", ["new", "trained"])
def test_a_model_is_trained_in_train_mode_and_left_as_it_was(start):
    base = normalised().eval()
    before = {name: value.clone() for name, value in base.state_dict().items()}
    model = trained(base, UserRecipe(epochs=1), start=start)
    assert not any(torch.equal(value, before[name]) for name, value in model.named_buffers())
    assert all(torch.equal(value, before[name]) for name, value in base.state_dict().items())
    assert not base.training
    assert not model.training


def test_the_last_weights_are_returned_whatever_the_validation_rows():
    fields = UserRecipe(epochs=3)
    nothing = Recipe(fields).fit(logistic(), TRAIN, VALIDATION[:0], stream(), start="new")
    assert same(trained(logistic(), fields), nothing)


def test_the_same_stream_gives_the_same_bits_and_none_is_drawn_from_the_global_one():
    def noisy(inputs, generator):
        return inputs + torch.randn(inputs.shape, dtype=inputs.dtype, generator=generator)

    base = normalised()
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    one, two, other = (trained(base, UserRecipe(epochs=2), augment=noisy, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.rand(2), expected)
    assert same(one, two)
    assert not same(one, other)
    assert not same(one, trained(base, UserRecipe(epochs=2)))


def test_frozen_parameters_stay_frozen():
    base = normalised()
    base[0].requires_grad_(False)
    model = trained(base, UserRecipe(epochs=1, weight_decay=0.1))
    assert torch.equal(model[0].weight, base[0].weight)
    assert not torch.equal(model[3].weight, base[3].weight)
    assert [parameter.requires_grad for parameter in model.parameters()] == [False] * 2 + [True] * 4


def test_progress_counts_epochs():
    seen = []
    trained(logistic(), UserRecipe(epochs=3), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_a_training_that_diverges_says_so():
    with pytest.raises(FloatingPointError, match="use a learning rate below 1e\\+300"):
        trained(logistic(), UserRecipe(epochs=4, optimiser="sgd", learning_rate=1e300, weight_decay=1.0))


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        (lambda inputs: inputs, "training.augment her:augment fails (TypeError: "),
        (lambda inputs, generator: inputs[:, :2], "returns torch.float64 of shape (30, 2): return torch.float64 of"),
        (lambda inputs, generator: inputs.float(), "returns torch.float32 of shape (30, 4): return torch.float64 of"),
        (lambda inputs, generator: inputs.numpy(), "returns a ndarray: return a tensor"),
        (lambda inputs, generator: inputs / 0, "returns values that are not finite"),
    ],
    ids=["arguments", "shape", "type", "kind", "values"],
)
def test_an_augmentation_that_cannot_be_used_is_refused_in_one_line(augment, message):
    with pytest.raises(InputError) as refused:
        trained(logistic(), UserRecipe(epochs=1, augment="her:augment"), augment=augment)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_augmentation_is_found_by_its_name(tmp_path):
    (tmp_path / "her_augmentation.py").write_text("def twice(inputs, generator): return 2 * inputs\n")
    fields = UserRecipe(epochs=2, augment="her_augmentation:twice")
    by_name = fields.resolved(tmp_path).fit(logistic(), TRAIN, VALIDATION, stream(), start="new")
    doubled = replace(TRAIN, source=2 * TRAIN.inputs)
    assert same(by_name, trained(logistic(), UserRecipe(epochs=2), doubled))
    with pytest.raises(InputError, match=r"training\.augment names 'thrice'"):
        UserRecipe(epochs=2, augment="her_augmentation:thrice").resolved(tmp_path)


IMAGES = torch.arange(400 * 2 * 8 * 20, dtype=torch.float64).reshape(400, 2, 8, 20)
"""Every pixel has a value of its own."""


def test_flips_and_shifts_are_crops_of_the_reflected_image():
    changed = flips_and_shifts(IMAGES, stream())
    assert (changed.shape, changed.dtype) == (IMAGES.shape, IMAGES.dtype)
    drawn = []
    for image, result in zip(IMAGES.numpy(), changed.numpy(), strict=True):
        found = [
            (flipped, down, right)
            for flipped in (False, True)
            for down in range(5)
            for right in range(5)
            for source in [image[..., ::-1] if flipped else image]
            if np.array_equal(
                np.pad(source, ((0, 0), (2, 2), (2, 2)), mode="reflect")[:, down : down + 8, right : right + 20], result
            )
        ]
        assert len(found) == 1
        drawn += found
    flips, downs, rights = (np.array(column) for column in zip(*drawn, strict=True))
    assert 150 < flips.sum() < 250
    for shifts in (downs, rights):
        assert np.bincount(shifts, minlength=5).min() > 50
    assert len(set(drawn)) > 45  # the three are drawn apart: 50 are possible


def test_flips_and_shifts_depend_on_the_stream_alone():
    one, two, other = (flips_and_shifts(IMAGES, stream(seed)) for seed in (0, 0, 1))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert torch.equal(IMAGES.flatten(), torch.arange(IMAGES.numel(), dtype=torch.float64))


def test_flips_and_shifts_refuse_what_is_no_image():
    with pytest.raises(InputError, match=r"channels × height × width, but an input has the shape \(4,\)"):
        trained(logistic(), UserRecipe(epochs=1), augment=flips_and_shifts)


def test_a_ready_made_augmentation_is_found_from_any_folder():
    fields = UserRecipe(epochs=1, augment="repair_pipeline.training.augment:flips_and_shifts")
    assert fields.resolved(Path("nowhere")).augment.__name__ == "flips_and_shifts"
