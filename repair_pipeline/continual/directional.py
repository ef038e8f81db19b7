"""Directional derivatives Jv, with J the Jacobian by θ of log-likelihoods or logits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import debug_unwrap, jvp, vjp
from torch.nn.attention import SDPBackend, sdpa_kernel

from repair_pipeline.continual.backward import gradient
from repair_pipeline.continual.fisher import gradients_at_once
from repair_pipeline.continual.likelihood import Classifier, LogLikelihood
from repair_pipeline.types import Examples, Theta

Outputs = Callable[[Theta, Examples], Float[Tensor, "n *k"]]
"""(θ, rows) → one value, or k values, for each row."""

ByRows = Callable[[Theta, Examples, Theta], Float[Tensor, "n *k"]]
"""(θ, rows, v) → Jv, from per-sample gradients."""

_COMPARED = 4
"""Rows on which forward mode is compared with per-sample gradients."""

Pulled = tuple[Float[Tensor, "n *k"], Float[Tensor, "n *k"], Callable[[Tensor], Theta]]
"""f(θ), Jv and u ↦ Jᵀu."""


@contextmanager
def plain_kernels() -> Iterator[None]:
    """Run attention and recurrent layers unfused: the fused kernels lack some derivatives."""
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    # Not mkldnn.flags: it also sets TF32, and warns if there is none.
    mkldnn, *_ = torch.backends.mkldnn.set_flags(False, _fp32_precision=None)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mkldnn.set_flags(mkldnn, _fp32_precision=None)
        torch.backends.mha.set_fastpath_enabled(fast_path)


class Directional:
    """Jv by forward-mode differentiation; if an operation does not support it, unfused or by per-sample gradients.

    All three are exact. The choice is made at the first batch and kept. Forward mode sees what a backward pass does
    not: it goes on through ``torch.no_grad`` and through the padding of an embedding. Then per-sample gradients decide,
    as they say what training changes.
    """

    def __init__(self, outputs: Outputs, by_rows: ByRows) -> None:
        self._outputs, self.by_rows = outputs, by_rows
        self._forward: list[Callable[[], AbstractContextManager[None]]] = [nullcontext, plain_kernels]
        self._compared = False

    def change(self, theta: Theta, rows: Examples, v: Theta) -> Float[Tensor, "n *k"]:
        """Jv. Costs one or two forward passes, or else one gradient per row."""
        self._compare(theta, rows)
        change = self._by_forward_mode(theta, rows, v)
        return self.by_rows(theta, rows, v) if change is None else change

    def _by_forward_mode(self, theta: Theta, rows: Examples, v: Theta) -> Float[Tensor, "n *k"] | None:
        """Jv in the first way that works, which is kept; None if none does."""
        while self._forward:
            try:
                with self._forward[0]():
                    return jvp(lambda at: self._outputs(at, rows), (theta,), (v,))[1].detach()
            except RuntimeError:  # not supported; an error of the model itself will be raised again by rows
                del self._forward[0]
        return None

    def _compare(self, theta: Theta, rows: Examples) -> None:
        """At the first batch, compare forward mode with per-sample gradients on a few rows, in one direction."""
        if self._compared:
            return
        self._compared = True
        theta, some = theta.detach(), rows[:_COMPARED]
        v = torch.arange(len(theta), device=theta.device, dtype=theta.dtype).cos()  # of all parameters
        forward = self._by_forward_mode(theta, some, v)
        if forward is None:
            return
        difference = forward - self.by_rows(theta, some, v)
        if float(difference.abs().max()) > 1e-2 * float(forward.abs().max()):
            self._forward.clear()

    def pulled(self, theta: Theta, rows: Examples, v: Theta) -> Pulled:
        """f(θ), Jv and u ↦ Jᵀu; in forward mode from a single pass.

        Raises:
            RuntimeError: v is one of several side by side, which what was chosen for a single one does not support.
        """
        several = debug_unwrap(v) is not v
        if not several:
            self._compare(theta, rows)
        while self._forward:
            try:
                with self._forward[0]():
                    return self._single_pass(theta, rows, v)
            except RuntimeError:
                if several:
                    raise
                del self._forward[0]
        at = theta.detach().requires_grad_(True)
        value = self._outputs(at, rows)
        return value.detach(), self.by_rows(theta, rows, v), lambda u: gradient(value, at, u)

    def _single_pass(self, theta: Theta, rows: Examples, v: Theta) -> Pulled:
        def function(at: Theta) -> tuple[Tensor, Tensor]:
            value, change = jvp(lambda to: self._outputs(to, rows), (at,), (v,))  # type: ignore[misc]  # two, without aux
            return value, change

        value, pull, change = vjp(function, theta, has_aux=True)  # type: ignore[misc]  # three, with has_aux
        return value, change, lambda u: pull(u)[0].detach()


def of_log_p(log_lik: LogLikelihood) -> Directional:
    """J of log p(z|θ), one value per row."""

    def by_rows(theta: Theta, rows: Examples, v: Theta) -> Float[Tensor, " n"]:
        return torch.cat([log_lik.gradients(theta, batch) @ v for batch in rows.batches(gradients_at_once(theta))])

    return Directional(log_lik, by_rows)


def of_logits(classifier: Classifier) -> Directional:
    """J of the logits, k values per row."""

    def logits(theta: Theta, rows: Examples) -> Float[Tensor, "n *k"]:
        return classifier.logits(theta, rows.inputs)

    def by_rows(theta: Theta, rows: Examples, v: Theta) -> Float[Tensor, "n *k"]:
        like = classifier.logits(theta, rows.inputs)

        def change(of_one: int) -> Float[Tensor, " n"]:
            def value(outputs: Tensor, labels: Tensor) -> Tensor:
                return outputs.reshape(len(outputs), -1)[:, of_one]

            batches = rows.batches(gradients_at_once(theta))
            return torch.cat([classifier.gradients(theta, batch, of=value) @ v for batch in batches])

        return torch.stack([change(at) for at in range(like.numel() // len(like))], dim=1).view_as(like)

    return Directional(logits, by_rows)
