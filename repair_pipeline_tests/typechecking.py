"""How the annotations of the science are checked while the tests run."""

import numpy as np
from beartype import BeartypeConf, FrozenDict, beartype
from numpy.typing import NDArray

SCIENCE = [
    f"repair_pipeline.{part}"
    for part in (
        "types",
        "datasets",
        "models",
        "likelihoods",
        "corruption",
        "training",
        "compute",
        "continual",
        "problem",
        "influence",
        "treatment",
        "evaluation",
    )
]
"""The floors whose tensors carry shapes. Above them pydantic and pyarrow check what comes in."""

# An int is a float to every other type checker, and beartype takes NDArray[np.str_] for strings of length 0.
checked = beartype(
    conf=BeartypeConf(is_pep484_tower=True, hint_overrides=FrozenDict({NDArray[np.str_]: NDArray[np.generic]}))
)
