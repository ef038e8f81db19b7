"""The settings of an installation: folders, the nightly schedule, notifications, ports and the engine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from repair_pipeline.errors import InputError, one_line

FILE = "repair.toml"
"""The settings file, in the current folder."""

_PREFIX = "REPAIR_"


def _cron_line(text: str) -> str:
    """Check the form only; Dagster validates the fields."""
    if len(text.split()) != 5 and not text.startswith("@"):
        raise ValueError("a cron expression has five fields, such as 0 2 * * *, or is a keyword such as @daily")
    return text


Folder = Annotated[Path, AfterValidator(lambda path: Path(os.path.expanduser(path)).absolute())]
Port = Annotated[int, Field(ge=1, le=65535)]
CronLine = Annotated[str, AfterValidator(_cron_line)]


class Settings(BaseSettings):
    """The settings, each from a command-line flag, else from a variable ``REPAIR_...``, else from ``repair.toml``."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, env_ignore_empty=True, toml_file=FILE, extra="forbid", frozen=True, validate_default=True
    )

    home: Folder = Field(default=Path("data"), description="the folder that results are written to")
    data_dir: Folder = Field(
        default=Path("data"), description="the folder that MNIST, CIFAR-10 and the like are read from"
    )
    nightly: CronLine = Field(default="0 2 * * *", description="when the nightly runs start: a cron expression, in UTC")
    notify: str = Field(
        default="", description="a shell command that receives one line on standard input for each failed run"
    )
    notify_urls: SecretStr = Field(
        default=SecretStr(""),
        description="where the same line is sent, separated by spaces: Apprise's addresses of webhooks, mail servers "
        "and chats, such as jsons://hooks.example.org/repair or mailtos://user:password@example.org",
    )
    keep_days: Annotated[int, Field(ge=1)] = Field(
        default=30, description="repair gc and the job clean_up leave cases alone that are younger, in days"
    )
    dagster_port: Port = Field(default=3000, description="the port of Dagster's web pages on loopback")
    mlflow_port: Port = Field(default=5000, description="the port of MLflow's web pages on loopback")
    mlflow_experiment: Annotated[str, Field(min_length=1)] = Field(
        default="repair_pipeline", description="the MLflow experiment that cases are logged to"
    )
    engine: Literal["local", "ray"] = Field(
        default="local", description="where independent parts of a step run: in this process, or as tasks of Ray"
    )
    ray_cpus: Annotated[float, Field(gt=0)] = Field(default=1, description="the CPUs that a task of Ray reserves")
    ray_gpus: Annotated[float, Field(gt=0)] = Field(
        default=1, description="the GPUs that a task of Ray reserves when the device is a GPU; 0.5: two tasks share one"
    )
    ray_retries: Annotated[int, Field(ge=0)] = Field(
        default=3, description="how often a task runs again that was lost with its worker or node"
    )
    query_memory_mb: Annotated[int, Field(ge=64)] = Field(
        default=2048, description="the memory that a query or a predicate may use, in MiB"
    )
    query_seconds: Annotated[int, Field(ge=1)] = Field(
        default=60, description="the time that a query or a predicate may take, in seconds"
    )
    query_threads: Annotated[int, Field(ge=1)] = Field(
        default=2, description="the threads that a query or a predicate may use"
    )
    query_rows: Annotated[int, Field(ge=1)] = Field(
        default=1_000_000, description="the rows that the answer of a query may have"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    def variables(self) -> dict[str, str]:
        """Environment variables that pass these settings to another process."""
        return {variable(name): _plain(value) for name, value in self}


def _plain(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


def read_settings(**flags: object) -> Settings:
    """The current settings.

    Args:
        flags: values from the command line; None means not given.

    Raises:
        InputError: ``repair.toml`` cannot be read or has an unknown key, or a value is invalid.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return Settings(**given)  # type: ignore[arg-type]  # each is validated
    except ValidationError as error:
        raise InputError(_message(error.errors()[0], given)) from error
    except (OSError, ValueError) as error:  # tomllib's errors, and text that is not UTF-8
        raise InputError(f"{FILE} cannot be read: {one_line(error)}") from error


def origins() -> dict[str, str]:
    """Where each setting's value comes from: ``repair.toml``, ``environment`` or ``default``."""
    by_file = dict.fromkeys(TomlConfigSettingsSource(Settings)(), FILE)
    by_variable = dict.fromkeys(EnvSettingsSource(Settings)(), "environment")
    return dict.fromkeys(Settings.model_fields, "default") | by_file | by_variable


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return f"{_PREFIX}{name.upper()}"


def _message(error: ErrorDetails, given: Mapping[str, object]) -> str:
    """What is wrong, on one line; the setting is named as the user wrote it: flag, variable or key."""
    name = str(error["loc"][0])
    if error["type"] == "extra_forbidden":
        return f"{FILE} has no setting {name!r}: it may have {', '.join(Settings.model_fields)}"
    if name in given:
        where = f"--{name.replace('_', '-')}"
    else:
        where = variable(name) if origins()[name] == "environment" else f"{name} in {FILE}"
    return f"{where} cannot be {error['input']!r}: {error['msg'].removeprefix('Value error, ')}"
