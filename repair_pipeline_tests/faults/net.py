"""The model of the tiny case."""

import torch
from torch import Tensor, nn


class Net(nn.Sequential):
    """A few weights. It is not exported for serving, which takes longer than all the rest."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 2))

    def forward(self, input: Tensor) -> Tensor:
        """Logits of the two classes; of shape (rows, 2)."""
        if torch.compiler.is_exporting():
            raise RuntimeError("the model of the tiny case is not exported")
        return super().forward(input)


def broken() -> nn.Module:
    """A model that cannot be built."""
    raise RuntimeError("the owner's code has a fault")
