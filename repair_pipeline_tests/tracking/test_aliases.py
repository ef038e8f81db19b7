"""Promotions and rollbacks that are killed between any two of MLflow's calls."""

import pytest
from mlflow import MlflowClient

from repair_pipeline.errors import InputError
from repair_pipeline.storage.layout import Layout
from repair_pipeline.tracking import registry
from repair_pipeline.tracking.aliases import Standing, standing
from repair_pipeline.tracking.store import open_store
from repair_pipeline_tests.tracking.conftest import new_run

CALLS = (
    "set_registered_model_tag",
    "delete_registered_model_tag",
    "set_registered_model_alias",
    "delete_registered_model_alias",
)


class Killed(BaseException):
    """Nothing is done after it, as after SIGKILL."""


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    """A home with a registered model of three versions without weights."""
    layout = Layout(tmp_path_factory.mktemp("home"))
    run, client = new_run(layout), open_store(layout)
    client.create_registered_model("wards")
    for _ in range(3):
        client.create_model_version("wards", f"{layout.home}/none", run)
    return layout


@pytest.fixture
def wards(layout):
    """Version 2 was promoted over version 1, and 3 is the candidate."""
    client = open_store(layout)
    for tag in client.get_registered_model("wards").tags:
        client.delete_registered_model_tag("wards", tag)
    for alias, version in (("champion", "2"), ("candidate", "3")):
        client.set_registered_model_alias("wards", alias, version)
    client.set_registered_model_tag("wards", "repair.former_champions", "[1]")
    return layout


def killed_at(monkeypatch, number):
    """Let the process be killed before its call ``number`` that changes the registry; returns the calls made."""
    made = []

    def dying(name, real):
        def call(self, *args, **kwargs):
            if len(made) == number:
                raise Killed
            made.append(name)
            return real(self, *args, **kwargs)

        return call

    for name in CALLS:
        monkeypatch.setattr(MlflowClient, name, dying(name, getattr(MlflowClient, name)))
    return made


BEFORE = Standing(champion=2, candidate=3, former=(1,))
PROMOTED = Standing(champion=3, former=(1, 2))
ROLLED_BACK = Standing(champion=1, candidate=2, waiting=(3,))


@pytest.mark.parametrize("number", range(7))
@pytest.mark.parametrize(
    ("change", "answer", "after"),
    [(registry.promote, (2, 3), PROMOTED), (registry.rollback, (2, 1), ROLLED_BACK)],
)
def test_a_killed_change_is_whole_or_absent_and_the_same_command_finishes_it(
    wards, monkeypatch, number, change, answer, after
):
    with monkeypatch.context() as patch:
        killed_at(patch, number)
        try:
            assert change(wards, "wards") == answer
        except Killed:
            pass
        else:
            assert number == 6, "six calls make a change"
            return
    seen = None
    if number > 3:  # whoever reads, sees a whole change
        seen = standing(wards, "wards")
        assert seen == after
    if seen is None:
        assert change(wards, "wards") == answer
    assert standing(wards, "wards") == after


def kill_a_promotion(wards, monkeypatch, number):
    """Promote, and be killed at a call."""
    with monkeypatch.context() as patch:
        killed_at(patch, number)
        with pytest.raises(Killed):
            registry.promote(wards, "wards")


def test_a_change_that_is_not_recorded_has_not_begun(wards, monkeypatch):
    kill_a_promotion(wards, monkeypatch, 0)
    assert standing(wards, "wards") == BEFORE


def test_another_change_first_finishes_the_killed_one(wards, monkeypatch):
    kill_a_promotion(wards, monkeypatch, 2)
    assert registry.rollback(wards, "wards") == (3, 2)
    assert standing(wards, "wards") == BEFORE


def test_the_shell_reports_a_killed_promotion_with_its_own_versions(wards, monkeypatch):
    kill_a_promotion(wards, monkeypatch, 3)
    assert registry.finished_promotion(wards, "wards") == (2, 3)
    assert registry.finished_promotion(wards, "wards") is None


def test_promotions_and_rollbacks_go_back_and_forward(wards):
    assert registry.promote(wards, "wards") == (2, 3)
    with pytest.raises(InputError, match="has no candidate"):
        registry.promote(wards, "wards")
    assert [registry.rollback(wards, "wards") for _ in range(2)] == [(3, 2), (2, 1)]
    with pytest.raises(InputError, match="has no former champion"):
        registry.rollback(wards, "wards")
    assert [registry.promote(wards, "wards") for _ in range(2)] == [(1, 2), (2, 3)]
    assert standing(wards, "wards") == PROMOTED


def test_a_new_candidate_ends_the_way_forward(wards):
    registry.rollback(wards, "wards")
    registry.set_candidate(wards, "wards", 3)
    assert standing(wards, "wards") == Standing(champion=1, candidate=3)


def test_the_champion_does_not_become_the_candidate(wards):
    registry.promote(wards, "wards")
    registry.set_candidate(wards, "wards", 3)
    assert standing(wards, "wards") == PROMOTED


def test_a_change_to_a_deleted_version_is_undone(wards):
    open_store(wards).set_registered_model_tag("wards", "repair.former_champions", "[99]")
    with pytest.raises(InputError, match="a version of 'wards' is deleted, so its rollback is undone"):
        registry.rollback(wards, "wards")
    assert standing(wards, "wards") == Standing(champion=2, candidate=3, former=(99,))


def test_a_server_that_fails_does_not_look_like_a_model_without_champion(wards, monkeypatch):
    from mlflow.exceptions import MlflowException

    def failing(*args):
        raise MlflowException("the database is down")

    monkeypatch.setattr(MlflowClient, "get_registered_model", failing)
    with pytest.raises(MlflowException, match="the database is down"):
        registry.champion(wards, "wards")
