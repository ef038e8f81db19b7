"""Linear and convolutional layers as matrices: the vectors that a layer multiplies by its weight."""

from jaxtyping import Float
from torch import Tensor, nn


def is_matrix(layer: nn.Module) -> bool:
    """Whether the layer is linear or convolutional; not a subclass, which may compute something else."""
    plain = type(layer) is nn.Conv2d and layer.groups == 1 and layer.padding_mode == "zeros"
    return type(layer) is nn.Linear or (plain and not isinstance(layer.padding, str))


def layer_inputs(layer: nn.Module, x: Tensor) -> Float[Tensor, "n t a"]:
    """The vectors that the layer multiplies by its weight, a matrix of a columns, at each of t positions."""
    if isinstance(layer, nn.Conv2d):
        x = nn.functional.unfold(x, layer.kernel_size, layer.dilation, layer.padding, layer.stride)  # type: ignore[arg-type]  # no string: see is_matrix
        x = x.transpose(1, 2)
    return x.reshape(len(x), -1, x.shape[-1])


def second_moment(rows: Float[Tensor, "n t d"]) -> Float[Tensor, "d d"]:
    """The sum of vvᵀ over examples and positions, in float64."""
    flat = rows.flatten(0, 1)
    return (flat.T @ flat).double()
