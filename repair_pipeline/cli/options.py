"""Arguments and options that several commands have."""

from enum import StrEnum
from typing import Annotated

import typer

CaseName = Annotated[str, typer.Argument(metavar="CASE")]


class Device(StrEnum):
    """Where the heavy steps run."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
