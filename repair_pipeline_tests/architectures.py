"""Small models of every kind that torch differentiates in its own way: they read (n, features) and give k logits."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils.checkpoint import checkpoint


class Steps(nn.Module):
    """Reads the features as a sequence, one a step."""

    def __init__(self, over: nn.Module, run: Callable[[nn.Module, Tensor], Tensor], reads: int, classes: int) -> None:
        super().__init__()
        self.embed = nn.Linear(1, reads)
        self.over, self.run = over, run
        self.head = nn.Linear(4, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.run(self.over, self.embed(x[..., None])))


class Between(nn.Module):
    """Two linear layers with something between them."""

    def __init__(self, between: Callable[[Tensor], Tensor], features: int, classes: int) -> None:
        super().__init__()
        self.first, self.inner, self.last = nn.Linear(features, 4), nn.Linear(4, 4), nn.Linear(4, classes)
        self.between = between

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.between(self.inner(self.first(x)).tanh()))


class Checkpointed(Between):
    """Runs its inner layer again in the backward pass."""

    reentrant = False

    def forward(self, x: Tensor) -> Tensor:
        inner = checkpoint(lambda h: self.inner(h).tanh(), self.first(x), use_reentrant=self.reentrant)
        return self.last(inner)


class Reentrant(Checkpointed):
    reentrant = True


class Bag(nn.Module):
    """A bag of tokens."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.bag, self.head = nn.EmbeddingBag(8, 4), nn.Linear(4, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.bag((x.abs() * 3).long().clamp(max=7)).tanh())


class Distances(nn.Module):
    """Distances to prototypes."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.prototypes, self.head = nn.Parameter(torch.randn(5, features)), nn.Linear(5, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.cdist(x, self.prototypes))


class _Squashed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.tanh()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, given):
        return given * (1 - ctx.saved_tensors[0].tanh() ** 2)


class Keeping(Between):
    """Keeps what it computes as attributes, in a list too."""

    def forward(self, x: Tensor) -> Tensor:
        self.hidden = self.first(x)
        self.seen = [self.hidden.tanh()]
        return self.last(self.inner(self.seen[0]))


def _branching(x: Tensor) -> Tensor:
    return x * 2 if x.sum() > 1e9 else x


def _in_place(x: Tensor) -> Tensor:
    fresh = torch.zeros(x.shape, dtype=x.dtype)
    fresh[:, :2] = x[:, :2]
    return fresh + x


def _item(x: Tensor) -> Tensor:
    return x * (2.0 if x.abs().max().item() >= 0 else 1.0)


def _nested(x: Tensor) -> Tensor:
    return torch.nested.to_padded_tensor(torch.nested.as_nested_tensor(list(x[:, None])), 0.0)[:, 0]


def _attention(layer: nn.Module, h: Tensor) -> Tensor:
    return layer(h, h, h)[0].mean(dim=1)


def _dot_product(layer: nn.Module, h: Tensor) -> Tensor:
    return scaled_dot_product_attention(h[:, None], h[:, None], layer(h)[:, None])[:, 0].mean(dim=1)


def _encoded(layer: nn.Module, h: Tensor) -> Tensor:
    return layer(h).mean(dim=1)


def _decoded(layer: nn.Module, h: Tensor) -> Tensor:
    return layer(h, h).mean(dim=1)


def _recurrent(layer: nn.Module, h: Tensor) -> Tensor:
    return layer(h)[0][:, -1]


def _packed(layer: nn.Module, h: Tensor) -> Tensor:
    lengths = torch.full((len(h),), h.shape[1])
    return layer(pack_padded_sequence(h, lengths, batch_first=True, enforce_sorted=False))[1][0][0]


def _cell(layer: nn.Module, h: Tensor) -> Tensor:
    state = None
    for step in h.unbind(dim=1):
        state = layer(step, state)
    return state[0] if isinstance(state, tuple) else state


def _steps(over: Callable[[], nn.Module], run: Callable[[nn.Module, Tensor], Tensor], reads: int = 4) -> Make:
    return lambda features, classes: Steps(over(), run, reads, classes)


def _between(between: Callable[[Tensor], Tensor]) -> Make:
    return lambda features, classes: Between(between, features, classes)


def _normed(norm: Callable[[nn.Module], nn.Module]) -> Make:
    return lambda features, classes: nn.Sequential(norm(nn.Linear(features, 4)), nn.Tanh(), nn.Linear(4, classes))


Make = Callable[[int, int], nn.Module]
"""(features, classes) → a model."""

WITHOUT_FORWARD_MODE: dict[str, Make] = {
    "attention": _steps(lambda: nn.MultiheadAttention(4, 2, batch_first=True), _attention),
    "dot_product": _steps(lambda: nn.Linear(4, 4), _dot_product),
    "encoder": _steps(lambda: nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), _encoded),
    "encoders": _steps(
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), 1), _encoded
    ),
    "decoder": _steps(lambda: nn.TransformerDecoderLayer(4, 2, 8, batch_first=True), _decoded),
    "lstm": _steps(lambda: nn.LSTM(1, 4, batch_first=True), _recurrent, reads=1),
    "embedding_bag": Bag,
    "cdist": Distances,
    "weight_norm": _normed(nn.utils.parametrizations.weight_norm),
}
"""An operation of theirs has no forward-mode formula, in float32 at least."""

WITHOUT_VMAP: dict[str, Make] = {
    "branch": _between(_branching),
    "item": _between(_item),
    "in_place": _between(_in_place),
    "function": _between(_Squashed.apply),
    "nested": _between(_nested),
    "gru": _steps(lambda: nn.GRU(1, 4, batch_first=True), _recurrent, reads=1),
    "rnn": _steps(lambda: nn.RNN(1, 4, batch_first=True), _recurrent, reads=1),
    "lstm_cell": _steps(lambda: nn.LSTMCell(1, 4), _cell, reads=1),
    "gru_cell": _steps(lambda: nn.GRUCell(1, 4), _cell, reads=1),
    "packed": _steps(lambda: nn.LSTM(1, 4, batch_first=True), _packed, reads=1),
    "checkpoint": lambda features, classes: Checkpointed(torch.tanh, features, classes),
    "data_parallel": lambda features, classes: nn.DataParallel(nn.Linear(features, classes)),
    "reentrant": lambda features, classes: Reentrant(torch.tanh, features, classes),
}
"""torch.func.vmap does not run them."""

KEEPING: dict[str, Make] = {
    "old_weight_norm": _normed(nn.utils.weight_norm),
    "old_spectral_norm": _normed(nn.utils.spectral_norm),
    "orthogonal": _normed(nn.utils.parametrizations.orthogonal),
    "activations": lambda features, classes: Keeping(torch.tanh, features, classes),
    "scripted": lambda features, classes: torch.jit.script(nn.Sequential(nn.Linear(features, classes))),
}
"""They keep tensors that were computed, which deepcopy refuses or makes anew in another way."""

EVERY = WITHOUT_FORWARD_MODE | WITHOUT_VMAP | KEEPING


def net(which: str, features: int = 2, classes: int = 2) -> nn.Module:
    """The model of that name, untrained."""
    return EVERY[which](features, classes)
