"""The aliases of a registered model: its champion, its candidate, and the way back and forward between versions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal

from mlflow import MlflowClient
from mlflow.entities.model_registry import RegisteredModel
from mlflow.exceptions import MlflowException

from repair_pipeline.errors import InputError
from repair_pipeline.storage.layout import Layout
from repair_pipeline.storage.locks import locked
from repair_pipeline.tracking.store import open_store

CHAMPION, CANDIDATE = "champion", "candidate"
_FORMER = "repair.former_champions"
"""Tag of a registered model that lists the versions of former champions, the latest last."""
_WAITING = "repair.waiting_candidates"
"""Tag that lists the versions that become candidates again, the next last."""
_TRANSITION = "repair.transition"
"""Tag with the transition that has begun. Whoever comes next finishes it."""


@dataclass(frozen=True)
class Standing:
    """Which versions of a model stand where. ``promoted`` and ``rolled_back`` undo each other."""

    champion: int | None = None
    candidate: int | None = None
    former: tuple[int, ...] = ()
    """Former champions, the latest last."""
    waiting: tuple[int, ...] = ()
    """Candidates that a rollback has put behind the present one, the next last."""

    def promoted(self) -> Standing:
        """The candidate is the champion; the candidate behind it, if there is one, is next."""
        former = self.former if self.champion is None else (*self.former, self.champion)
        return Standing(self.candidate, self.waiting[-1] if self.waiting else None, former, self.waiting[:-1])

    def rolled_back(self) -> Standing:
        """The former champion is the champion, and the one that it replaces is the candidate again."""
        waiting = self.waiting if self.candidate is None else (*self.waiting, self.candidate)
        return Standing(self.former[-1], self.champion, self.former[:-1], waiting)


Kind = Literal["promotion", "rollback", "candidate", "first champion"]


@dataclass(frozen=True)
class Transition:
    """A change of a model's standing."""

    kind: Kind
    before: Standing
    after: Standing


def standing(layout: Layout, name: str) -> Standing | None:
    """The standing of the model ``name``, after an interrupted transition is finished; None if there is none."""
    model = _model(open_store(layout), name)
    if model is None:
        return None
    if _TRANSITION in model.tags:
        finish(layout, name)
        return standing(layout, name)
    return _standing(model)


def finish(layout: Layout, name: str) -> Transition | None:
    """Finish the transition of a model that was interrupted; returns it, None if there was none."""
    with _changing(layout, name) as client:
        return _finish(client, name)


def change(layout: Layout, name: str, kind: Kind, changed: Callable[[Standing], Standing]) -> Transition:
    """Change the standing of a model, as one transition that is recorded before its first call.

    If a transition of the same kind was interrupted, it is finished, and is the one that was asked for.

    Args:
        layout: where MLflow's store is.
        name: of a registered model.
        kind: of the transition.
        changed: the new standing. It may refuse with an InputError.

    Raises:
        InputError: there is no such model, ``changed`` refuses, or a version is deleted.
    """
    with _changing(layout, name) as client:
        interrupted = _finish(client, name)
        if interrupted is not None and interrupted.kind == kind:
            return interrupted
        before = _standing(require_model(client, name))
        transition = Transition(kind, before, changed(before))
        if transition.after != before:
            client.set_registered_model_tag(name, _TRANSITION, json.dumps(asdict(transition)))
            if _finish(client, name) is None:
                raise InputError(f"a version of {name!r} is deleted, so its {kind} is undone: restore it in MLflow")
        return transition


def require_model(client: MlflowClient, name: str) -> RegisteredModel:
    """The registered model ``name``.

    Raises:
        InputError: there is none.
    """
    model = _model(client, name)
    if model is None:
        names = ", ".join(known.name for known in client.search_registered_models())
        raise InputError(f"there is no registered model {name!r}: the registered models are {names or 'none'}")
    return model


@contextmanager
def _changing(layout: Layout, name: str) -> Iterator[MlflowClient]:
    client = open_store(layout)
    layout.mlflow.mkdir(parents=True, exist_ok=True)
    with locked(layout.mlflow / ".registry.lock", layout.mlflow / f"registry: {name}"):
        yield client


def _finish(client: MlflowClient, name: str) -> Transition | None:
    """Finish the transition that is recorded, or undo it if one of its versions has been deleted.

    Each call sets what the record says, so it does not matter how often it is made.
    """
    model = _model(client, name)
    if model is None or _TRANSITION not in model.tags:
        return None
    fields = json.loads(model.tags[_TRANSITION])
    transition = Transition(fields["kind"], _read(fields["before"]), _read(fields["after"]))
    try:
        _set(client, model, transition.after)
        finished = True
    except MlflowException as error:
        if not _is_missing(error):
            raise
        _set(client, model, transition.before)
        finished = False
    client.delete_registered_model_tag(name, _TRANSITION)
    return transition if finished else None


def _set(client: MlflowClient, model: RegisteredModel, wanted: Standing) -> None:
    for alias, version in ((CHAMPION, wanted.champion), (CANDIDATE, wanted.candidate)):
        if version is not None:
            client.set_registered_model_alias(model.name, alias, str(version))
        else:
            client.delete_registered_model_alias(model.name, alias)
    client.set_registered_model_tag(model.name, _FORMER, json.dumps(wanted.former))
    client.set_registered_model_tag(model.name, _WAITING, json.dumps(wanted.waiting))


def _read(fields: dict[str, Any]) -> Standing:
    lists = {key: tuple(fields[key]) for key in ("former", "waiting")}
    return Standing(**{**fields, **lists})


def _standing(model: RegisteredModel) -> Standing:
    versions = {alias: int(version) for alias, version in model.aliases.items()}
    former, waiting = (tuple(json.loads(model.tags.get(tag, "[]"))) for tag in (_FORMER, _WAITING))
    return Standing(versions.get(CHAMPION), versions.get(CANDIDATE), former, waiting)


def _model(client: MlflowClient, name: str) -> RegisteredModel | None:
    try:
        return client.get_registered_model(name)
    except MlflowException as error:
        if not _is_missing(error):  # a server that fails must not look like a model that does not exist
            raise
        return None


def _is_missing(error: MlflowException) -> bool:
    return bool(error.error_code == "RESOURCE_DOES_NOT_EXIST")
