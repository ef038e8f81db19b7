"""Models of kinds that users of other tools reported: each has the gradients of a loop, or is refused in one line.

The oracle is an ordinary backward pass for every row by itself, through the owner's model and her reading of it.
"""

import threading
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from repair_pipeline.continual.directional import of_log_p
from repair_pipeline.continual.likelihood import Classifier
from repair_pipeline.errors import InputError
from repair_pipeline.likelihoods.reading import off, with_logits
from repair_pipeline.likelihoods.softmax import SOFTMAX
from repair_pipeline.models.copying import copied
from repair_pipeline.problem.fitting import require_fitting
from repair_pipeline_tests.problems import examples

N = 7
FLOATS = torch.randn(N, 6, generator=torch.Generator().manual_seed(0))
TOKENS = torch.randint(0, 9, (N, 6), generator=torch.Generator().manual_seed(1))
PIXELS = torch.randint(0, 256, (N, 1, 4, 4), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)


class Net(nn.Module):
    """Any layers, and a forward pass as a function of them and x."""

    def __init__(self, run: Callable[..., object], **layers: nn.Module | nn.Parameter) -> None:
        super().__init__()
        self.run = run
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x: Tensor) -> object:
        return self.run(self, x)


@dataclass
class Out:
    logits: Tensor
    hidden: Tensor


class Output(OrderedDict):
    """As the outputs of transformers: a dictionary whose values are attributes too."""

    __getattr__ = OrderedDict.__getitem__


Aux = namedtuple("Aux", ["logits", "aux"])


def plain(returned):
    return returned


def pair(z):
    z = z.reshape(-1, 1)
    return torch.cat([torch.zeros_like(z), z], 1)


def linear(then, k=2, **more):
    return lambda: Net(lambda self, x: then(self.l(x), x), l=nn.Linear(6, k), **more)


def embedding(then=lambda found: found.mean(1), kind=nn.Embedding, **settings):
    return lambda: Net(lambda self, x: self.l(then(self.e(x))), e=kind(9, 4, **settings), l=nn.Linear(4, 2))


def columns(self, x):
    return self.l(torch.cat([self.a(x[:, 0]), self.b(x[:, 1])], 1))


def hot(self, x):
    return self.l(nn.functional.one_hot(x, 9).float().mean(1))


def scattered(self, x):
    h = self.l(x)
    return torch.zeros_like(h).scatter_add(1, torch.zeros_like(h, dtype=torch.int64), h) + h.index_select(
        1, torch.tensor([1, 0])
    )


def spectrum(self, x):
    return self.l(torch.view_as_real(torch.fft.rfft(x, dim=1)).flatten(1)[:, :6].abs())


def partly_frozen(self, x):
    with torch.no_grad():
        h = self.a(x)
    return self.l(h.tanh())


def energy(self, x):
    with torch.enable_grad():
        x = x.detach().requires_grad_(True)
        (force,) = torch.autograd.grad(self.a(x).tanh().sum(), x, create_graph=True)
    return self.l(force)


def hyper(self, x):
    return torch.func.functional_call(self.l, {"weight": self.l.weight * self.scale, "bias": self.l.bias}, (x,))


def looped(self, x):
    return torch.stack([self.l(row) for row in x])


def by_mask(self, x):
    h = self.l(x)
    h[x[:, :2] > 0] = 0.5
    return h


def chosen(self, x):
    return self.l(x[:, x.std(0).argsort()])  # by the order of columns in the batch: a row depends on the others


def unique(self, x):
    return self.l(torch.stack([row.unique()[:3] for row in x]))


def experts(self, x):
    out = torch.zeros(len(x), 2)
    for at, expert in enumerate(self.experts):
        rows = (x[:, 0] > 0) == bool(at)
        out[rows] = expert(x[rows])
    return out


def mixed(self, x):
    return self.l(self.a(x).tanh().double())


def autocast(self, x):
    with torch.autocast("cpu", torch.bfloat16):
        return self.l(x)


def attention(self, x):
    h = self.e(x)
    return self.l(self.t(h, src_key_padding_mask=x == 0).mean(1))


def bidirectional(self, x):
    return self.l(self.r(x[..., None])[0].mean(1))


def recorded(self, x):
    self.seen = x
    self.calls = getattr(self, "calls", 0) + 1
    return self.l(x)


def hooked():
    model = linear(lambda y, x: y)()
    model.l.register_forward_hook(lambda layer, inputs, output: output.tanh())
    return model


def compiled():
    return torch.compile(linear(lambda y, x: y.tanh())(), backend="eager")


def traced():
    return torch.jit.trace(nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 2)), FLOATS)


def transposed():
    return Net(lambda self, x: x @ self.w, w=nn.Parameter(torch.randn(2, 6).t()))


def listed():
    parts = nn.ParameterList([nn.Parameter(torch.randn(6, 2)) for _ in range(2)])
    return Net(lambda self, x: x @ self.parts[0] + (x**2) @ self.parts[1], parts=parts)


# name: (the model, its inputs, her own reading of what it returns)
RIGHT = {
    "tuple": (linear(lambda y, x: (y, x)), FLOATS, lambda out: out[0]),
    "logits_last": (linear(lambda y, x: (x, None, y)), FLOATS, lambda out: out[2]),
    "list": (linear(lambda y, x: [y]), FLOATS, lambda out: out[0]),
    "dict": (linear(lambda y, x: {"hidden": y, "logits": y.tanh()}), FLOATS, lambda out: out["logits"]),
    "dict_of_another_name": (linear(lambda y, x: {"out": y, "loss": y.sum()}), FLOATS, lambda out: out["out"]),
    "dataclass": (linear(lambda y, x: Out(y, y)), FLOATS, lambda out: out.logits),
    "named_tuple": (linear(lambda y, x: Aux(y, y.tanh())), FLOATS, lambda out: out.logits),
    "model_output": (linear(lambda y, x: Output(loss=None, logits=y)), FLOATS, lambda out: out.logits),
    "one_logit": (linear(lambda y, x: y, k=1), FLOATS, pair),
    "one_logit_squeezed": (linear(lambda y, x: y.squeeze(), k=1), FLOATS, pair),
    "one_logit_in_a_dict": (linear(lambda y, x: {"logits": y}, k=1), FLOATS, lambda out: pair(out["logits"])),
    "double": (lambda: linear(lambda y, x: y)().double(), FLOATS, plain),
    "two_precisions": (lambda: Net(mixed, a=nn.Linear(6, 4), l=nn.Linear(4, 2).double()), FLOATS, plain),
    "tokens": (embedding(), TOKENS, plain),
    "tokens_as_floats": (embedding(), TOKENS.float(), plain),
    "tokens_of_a_byte": (embedding(), TOKENS.byte(), plain),
    "bag_of_tokens": (embedding(then=plain, kind=nn.EmbeddingBag), TOKENS, plain),
    "padding_token": (embedding(padding_idx=0), TOKENS, plain),
    "scaled_by_frequency": (embedding(scale_grad_by_freq=False), TOKENS, plain),
    "one_hot": (lambda: Net(hot, l=nn.Linear(9, 2)), TOKENS, plain),
    "categories": (
        lambda: Net(columns, a=nn.Embedding(9, 2), b=nn.Embedding(9, 3), l=nn.Linear(5, 2)),
        TOKENS.float(),
        plain,
    ),
    "tokens_and_padding": (
        lambda: Net(
            attention,
            e=nn.Embedding(9, 4),
            t=nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), 1),
            l=nn.Linear(4, 2),
        ),
        TOKENS.clamp(min=1),
        plain,
    ),
    "pixels": (lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 2)), PIXELS, plain),
    "flags": (linear(lambda y, x: y), FLOATS > 0, plain),
    "counts": (linear(lambda y, x: y), TOKENS.int(), plain),
    "scatter": (linear(lambda y, x: y), FLOATS, plain),
    "scattered": (lambda: Net(scattered, l=nn.Linear(6, 2)), FLOATS, plain),
    "spectrum": (lambda: Net(spectrum, l=nn.Linear(6, 2)), FLOATS, plain),
    "no_grad_inside": (lambda: Net(partly_frozen, a=nn.Linear(6, 4), l=nn.Linear(4, 2)), FLOATS, plain),
    "unused": (linear(lambda y, x: y, spare=nn.Linear(3, 3)), FLOATS, plain),
    "energy": (lambda: Net(energy, a=nn.Linear(6, 4), l=nn.Linear(6, 2)), FLOATS, plain),
    "hyper": (lambda: Net(hyper, l=nn.Linear(6, 2), scale=nn.Parameter(torch.tensor(0.7))), FLOATS, plain),
    "looped": (lambda: Net(looped, l=nn.Linear(6, 2)), FLOATS, plain),
    "masked_writes": (lambda: Net(by_mask, l=nn.Linear(6, 2)), FLOATS, plain),
    "unique": (lambda: Net(unique, l=nn.Linear(3, 2)), FLOATS, plain),
    "experts": (
        lambda: Net(experts, experts=nn.ModuleList([nn.Linear(6, 2), nn.Linear(6, 2)])),
        FLOATS,
        plain,
    ),
    "bidirectional": (
        lambda: Net(bidirectional, r=nn.LSTM(1, 3, bidirectional=True, batch_first=True), l=nn.Linear(6, 2)),
        FLOATS,
        plain,
    ),
    "records": (lambda: Net(recorded, l=nn.Linear(6, 2)), FLOATS, plain),
    "own_hooks": (hooked, FLOATS, plain),
    "compiled": (compiled, FLOATS, plain),
    "traced": (traced, FLOATS, plain),
    "lazy": (lambda: nn.Sequential(nn.LazyLinear(4), nn.Tanh(), nn.LazyLinear(2)), FLOATS, plain),
    "transposed_parameter": (transposed, FLOATS, plain),
    "parameter_list": (listed, FLOATS, plain),
    "group_norm": (lambda: nn.Sequential(nn.Linear(6, 4), nn.GroupNorm(2, 4), nn.Linear(4, 2)), FLOATS, plain),
    "instance_norm": (
        lambda: nn.Sequential(
            nn.Unflatten(1, (2, 3)), nn.InstanceNorm1d(2, affine=True), nn.Flatten(), nn.Linear(6, 2)
        ),
        FLOATS,
        plain,
    ),
    "sparse_gradients": (embedding(sparse=True), TOKENS, plain),
}


def ready(make, inputs):
    torch.manual_seed(0)
    model = make()
    rows = examples(inputs, torch.arange(len(inputs)) % 2)
    return with_logits(model, inputs[:3], 2, SOFTMAX), rows


def by_loop(model, reading, rows):
    """Every row's gradient of log p, by her own model; inputs in the type that the model reads."""
    gradients = []
    for x, y in zip(rows.inputs.split(1), rows.labels.tolist(), strict=True):
        model.zero_grad()
        reading(model(x)).log_softmax(dim=1)[0, y].backward()
        parts = [p.grad if p.grad is not None else torch.zeros_like(p) for p in model.parameters() if p.requires_grad]
        gradients.append(torch.cat([(part.to_dense() if part.is_sparse else part).flatten() for part in parts]))
    return torch.stack(gradients)


def in_a_type_it_reads(model, rows):
    for kind in (rows.inputs.dtype, next(model.parameters()).dtype, torch.int64):
        try:
            model(rows.inputs[:1].to(kind))
        except Exception:
            continue
        return examples(rows.inputs.to(kind), rows.labels)
    raise AssertionError("no type")


@pytest.mark.parametrize(("make", "inputs", "reading"), RIGHT.values(), ids=RIGHT)
def test_gradients_are_those_of_a_loop_over_rows(make, inputs, reading):
    model, rows = ready(make, inputs)
    require_fitting(model, rows, ("a", "b"))
    hers = off(copied(model)).eval()
    read = in_a_type_it_reads(hers, rows)
    expected = by_loop(hers, reading, read)
    classifier = Classifier(model)
    torch.testing.assert_close(
        classifier.gradients(classifier.theta_hat, rows), expected.to(classifier.theta_hat), rtol=1e-3, atol=1e-4
    )
    v = torch.linspace(-1, 1, len(classifier.theta_hat)).to(classifier.theta_hat)
    change = of_log_p(classifier).change(classifier.theta_hat, rows, v)
    torch.testing.assert_close(change, expected.to(v) @ v, rtol=1e-3, atol=1e-4)
    with torch.no_grad():
        log_p = reading(hers(read.inputs)).log_softmax(dim=1)
    torch.testing.assert_close(classifier.logits(classifier.theta_hat, rows.inputs).log_softmax(dim=1), log_p)


class Needing(nn.Module):
    def __init__(self):
        super().__init__()
        self.l = nn.Linear(6, 2)

    def forward(self, x, mask):
        return self.l(x * mask)


def failing(self, x):
    raise ValueError("no such\nthing")


def locked():
    model = linear(lambda y, x: y)()
    model.lock = threading.Lock()
    return model


def whole(self, x):
    return self.l(x.view(3, -1)[:, :6])


# name: (the model, its inputs, the message)
REFUSED = {
    "two_outputs_alike": (linear(lambda y, x: (y, y.tanh())), FLOATS, "a tuple of 2: wrap it so that it returns the"),
    "none": (linear(lambda y, x: None), FLOATS, "returns an object NoneType: wrap it"),
    "array": (linear(lambda y, x: y.detach().numpy()), FLOATS, "returns an object ndarray: wrap it"),
    "strings": (linear(lambda y, x: ["a"] * len(x)), FLOATS, "returns a list of"),
    "sequences": (linear(lambda y, x: y[:, None].expand(-1, 5, -1)), FLOATS, r"shape \(2, 5, 2\) for 2 rows, expected"),
    "class_numbers": (
        linear(lambda y, x: y.argmax(1)),
        FLOATS,
        "outputs are int64, as class numbers are: return the logits",
    ),
    "softmax": (linear(lambda y, x: y.softmax(1)), FLOATS, "outputs are probabilities .*: remove the final Softmax"),
    "softmax_in_a_dict": (linear(lambda y, x: {"logits": y.softmax(1)}), FLOATS, "outputs are probabilities"),
    "no_parameters": (lambda: nn.Flatten(), FLOATS, "has no floating-point parameters, so there is nothing to repair"),
    "frozen": (lambda: nn.Linear(6, 2).requires_grad_(False), FLOATS, "no parameter that requires a gradient"),
    "two_inputs": (Needing, FLOATS, "missing 1 required positional argument: 'mask'"),
    "failing": (lambda: Net(failing, l=nn.Linear(6, 2)), FLOATS, r"\(no such thing\)"),
    "locked": (locked, FLOATS, r"cannot be copied \(.*lock.*\): make the attribute"),
    "fixed_batch": (lambda: Net(whole, l=nn.Linear(6, 2)), FLOATS, "shape"),
    "batch_statistics": (
        lambda: nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4, track_running_stats=False), nn.Linear(4, 2)),
        FLOATS,
        "gradient for a single row cannot be computed",
    ),
    "too_few_tokens": (embedding(), TOKENS + 5, "cannot look up inputs from|fails on one of the"),
    "fractions": (embedding(), FLOATS, "reads integers, but an input is"),
    "fractions_later": (
        embedding(),
        torch.cat([TOKENS[:5].float(), FLOATS.abs()]),
        "reads integers, but an input is",
    ),
    "token_beyond_the_table": (
        embedding(),
        torch.cat([TOKENS, torch.full((1, 6), 9)]),
        "fails on one of the .* rows from .*index out of range",
    ),
    "numpy_inside": (
        linear(lambda y, x: torch.from_numpy(np.tanh(y.detach().numpy()))),
        FLOATS,
        "gradient for a single row cannot be computed",
    ),
    "halves_inside": (
        linear(lambda y, x: nn.functional.linear(x.double(), torch.ones(2, 6))),
        FLOATS,
        "computes in several precisions",
    ),
}


@pytest.mark.parametrize(("make", "inputs", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_repaired_is_refused_in_one_line(make, inputs, message):
    with pytest.raises(InputError, match=message) as refused:
        require_fitting(*ready(make, inputs), ("a", "b"))
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 500
