"""Models that do not fit the data, and the messages that refuse them."""

from collections import OrderedDict, namedtuple
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from repair_pipeline.continual.likelihood import Classifier
from repair_pipeline.errors import InputError
from repair_pipeline.models.user_model import torchvision_model
from repair_pipeline.pipeline.trials import fails_in_train_mode, mixes_rows, squashed
from repair_pipeline.problem.fitting import require_fitting
from repair_pipeline.training.fit import Schedule
from repair_pipeline_tests.architectures import EVERY
from repair_pipeline_tests.problems import blobs, examples

CLASSES = ("a", "b", "c")
TWO = ("a", "b")
BLOBS = blobs(300, seed=1)
ROWS = examples(BLOBS.inputs.float(), BLOBS.labels)


class Returning(nn.Module):
    """A linear classifier whose outputs are converted by a function."""

    def __init__(self, then, outputs=3, reads=4):
        super().__init__()
        self.linear, self.then = nn.Linear(reads, outputs), then

    def forward(self, x):
        return self.then(self.linear(x))


@dataclass
class Out:
    logits: Tensor
    hidden: Tensor


class Tokens(nn.Module):
    def __init__(self, size, long=False, kind=nn.Embedding):
        super().__init__()
        self.table, self.head, self.long = kind(size, 4), nn.Linear(4, 3), long

    def forward(self, x):
        found = self.table(x.long() if self.long else x)
        return self.head(found if found.dim() == 2 else found.mean(dim=1))


Pair = namedtuple("Pair", ["logits", "aux"])


@pytest.mark.parametrize(
    ("then", "message"),
    [
        (lambda y: (y, y), r"returns a tuple of 2: wrap it so that it returns the \(n, 3\) tensor of logits"),
        (lambda y: [y], "returns a list of 1: wrap"),
        (
            lambda y: {"logits": y, "loss": y},
            "a dict with the keys 'logits', 'loss': wrap it so that it returns its 'log",
        ),
        (lambda y: OrderedDict(out=y), r"a OrderedDict with the keys 'out': wrap it so that it returns the \(n, 3\)"),
        (
            lambda y: Out(y, y),
            r"an object Out with logits, hidden: wrap it so that it returns its \.logits, the \(n, 3\)",
        ),
        (lambda y: Pair(y, y), r"a Pair of 2 \(logits, aux\): wrap it so that it returns its logits, the"),
        (
            lambda y: y[:, :2],
            r"outputs of shape \(2, 2\) for 2 rows, expected \(2, 3\), one logit for each of the classes a",
        ),
        (lambda y: y.detach().tolist(), "returns a list of 2"),
    ],
)
def test_outputs_other_than_a_tensor_of_logits_are_described(then, message):
    with pytest.raises(InputError, match=message):
        require_fitting(Returning(then), ROWS, CLASSES)


@pytest.mark.parametrize(
    ("then", "move"),
    [
        (lambda z: z, r"return torch\.cat\(\[0 \* z, z\], 1\)"),
        (lambda z: z[:, 0], r"return torch\.stack\(\[0 \* z, z\], 1\)"),
    ],
)
def test_the_message_for_a_single_logit_says_what_to_return(then, move):
    with pytest.raises(InputError, match=f"a sigmoid's single logit z stands for two classes: {move}"):
        require_fitting(Returning(then, outputs=1), ROWS, TWO)


def test_a_double_model_that_reads_floats_is_accepted():
    class Casting(Returning):
        def forward(self, x):
            return super().forward(x.double())

    require_fitting(Casting(lambda y: y).double(), ROWS, CLASSES)


@pytest.mark.parametrize("kind", [nn.Embedding, nn.EmbeddingBag])
def test_a_table_with_too_few_tokens_is_named_with_what_it_must_hold(kind):
    tokens = torch.tensor([[0, 8, 3, 4], [8, 1, 2, 5]]).repeat(10, 1)
    ids = examples(tokens.float(), torch.zeros(20, dtype=torch.int64))
    with pytest.raises(
        InputError, match=r"cannot look up inputs from [01] to 8 \(.*\): set model\.arguments to a table"
    ):
        require_fitting(Tokens(3, kind=kind), ids, CLASSES)
    require_fitting(Tokens(9, kind=kind, long=True), ids, CLASSES)


def test_another_width_is_named_with_the_columns_in_use():
    message = (
        r"inputs of shape \(4,\): it reads 7 features, but the data have 4 \(f0, f1, f2, site\): set "
        r"dataset\.features, list the columns that are no features in dataset\.metadata, or set model\.arguments"
    )
    with pytest.raises(InputError, match=message):
        require_fitting(Returning(torch.tanh, reads=7), ROWS, CLASSES, ("f0", "f1", "f2", "site"))
    with pytest.raises(InputError, match=r"it reads 7 features, but the data have 4: set"):
        require_fitting(Returning(torch.tanh, reads=7), ROWS, CLASSES)


def test_a_column_too_many_is_named_whatever_the_models_error_says():
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 3))
    message = r"\(4,\) \(f0, f1, f2, site\) \(running_mean .*\): set dataset\.features, .* in dataset\.metadata"
    with pytest.raises(InputError, match=message) as refused:
        require_fitting(model, ROWS, CLASSES, ("f0", "f1", "f2", "site"))
    assert "transform" not in str(refused.value)


def test_other_errors_are_quoted():
    with pytest.raises(InputError, match=r"cannot read inputs of shape \(4,\) \(.*\): set dataset\.transform"):
        require_fitting(nn.Conv2d(3, 3, 3), ROWS, CLASSES)


PROBABILITIES = [
    nn.Softmax(dim=1),
    lambda y: y.softmax(dim=1),
    lambda y: y.abs() / y.abs().sum(dim=1, keepdim=True),
    lambda y: torch.stack([y[:, 0].sigmoid() / 2, y[:, 0].sigmoid() / 2, 1 - y[:, 0].sigmoid()], 1),
    lambda y: y.softmax(dim=1) if not torch.is_grad_enabled() else y,
]


@pytest.mark.parametrize("then", PROBABILITIES)
def test_probabilities_are_refused(then):
    message = "outputs are probabilities .*: remove the final Softmax, or return log-probabilities"
    with pytest.raises(InputError, match=message):
        require_fitting(Returning(then), ROWS, CLASSES)


LOGITS = [nn.LogSoftmax(dim=1), nn.Identity(), nn.ReLU(), nn.Tanh(), nn.Softplus(), nn.LayerNorm(3)]


@pytest.mark.parametrize("then", LOGITS)
@pytest.mark.parametrize("scale", [0.0, 1e-3, 1.0])
def test_logits_are_not_taken_for_probabilities(then, scale):
    torch.manual_seed(0)
    model = Returning(then)
    with torch.no_grad():
        for parameter in model.linear.parameters():
            parameter.mul_(scale)
    require_fitting(model, ROWS, CLASSES)
    if scale == 1:
        assert not squashed(model, ROWS[:8])


@pytest.mark.parametrize("then", [nn.Sigmoid(), nn.Hardsigmoid(), lambda y: y.clamp(0, 1)])
def test_a_sigmoids_outputs_are_noticed(then):
    model = Returning(then)
    require_fitting(model, ROWS, CLASSES)
    assert squashed(model, ROWS[:8])


def test_small_positive_logits_are_no_sigmoids():
    model = Returning(nn.Identity())
    nn.init.zeros_(model.linear.weight)
    nn.init.constant_(model.linear.bias, 0.3)
    assert not squashed(model, ROWS[:8])


class Squeezing(nn.Module):
    """Reads no batch of one row."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, x):
        return self.linear(x).unsqueeze(0).squeeze()


@pytest.mark.parametrize("model", [Squeezing()])
def test_a_model_without_gradients_is_refused(model):
    with pytest.raises(
        InputError, match=r"the model's gradient for a single row cannot be computed .*: make it accept"
    ):
        require_fitting(model, ROWS, CLASSES)


@pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
def test_a_model_of_every_kind_fits(make):
    torch.manual_seed(0)
    model = make(4, 3)
    require_fitting(model, ROWS, CLASSES)
    assert not mixes_rows(model, ROWS[:8])
    assert not squashed(model, ROWS[:8])
    assert fails_in_train_mode(model, ROWS[:8]) is None
    assert len(Classifier(model).theta_hat) == sum(parameter.numel() for parameter in model.parameters())


def test_only_what_is_adapted_needs_a_gradient():
    class Frozen(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 3)

        def forward(self, x):
            h = self.first(x)
            if h.requires_grad:
                raise RuntimeError("not for training")
            return self.last(h)

    require_fitting(Frozen(), ROWS, CLASSES, adapted="last_layer")
    with pytest.raises(InputError, match=r"cannot be computed .not for training."):
        require_fitting(Frozen(), ROWS, CLASSES)


def test_a_model_that_mixes_rows_is_noticed():
    assert mixes_rows(Returning(lambda y: y - y.mean(dim=0)), ROWS[:8])


def test_auxiliary_outputs_of_train_mode_are_named():
    images = examples(torch.randn(4, 3, 64, 64), torch.arange(4) % 2)
    model = torchvision_model("googlenet", 2, {"init_weights": False})
    message = r"returns a GoogLeNetOutputs of 3 \(logits, aux_logits2, aux_logits1\) in train mode: wrap it so"
    with pytest.raises(InputError, match=message):
        Schedule(max_epochs=1).fit(model, images, images, torch.Generator(), start="new")
    with pytest.raises(InputError, match=message):
        fails_in_train_mode(model, images)
