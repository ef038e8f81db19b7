"""MLflow's model registry."""

import pytest
import torch
from mlflow import MlflowClient
from torch import nn

from repair_pipeline.errors import InputError
from repair_pipeline.storage.files import read_tensors, tensors_digest, write_tensors
from repair_pipeline.storage.layout import Layout
from repair_pipeline.tracking import registry
from repair_pipeline.tracking.store import tracking_uri
from repair_pipeline_tests.problems import examples
from repair_pipeline_tests.tracking.conftest import new_run


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    """Three versions of the model ``wards``, of which the last two are repairs of the first."""
    layout = Layout(tmp_path_factory.mktemp("home"))
    run = new_run(layout)
    tests = examples(torch.randn(4, 3), torch.arange(4) % 2)
    for number in (1, 2, 3):
        model = nn.Linear(3, 2)
        weights = layout.home / f"{number}.safetensors"
        write_tensors(weights, {name: torch.full_like(it, number) for name, it in model.state_dict().items()}, {})
        tags = {"repair.model_is": "x"}
        if number > 1:  # a repair of the first
            tags[registry.REPAIRS] = tensors_digest(layout.home / "1.safetensors")
        version = registry.publish(layout, "wards", model, weights, {"factory": "mine:net"}, tests, run, tags)
        assert version == number
    return layout


def test_a_version_gives_back_its_weights_and_architecture(layout):
    uri, weights, architecture = registry.resolve(layout, "models:/wards/2")
    assert (uri, architecture) == ("models:/wards/2", {"factory": "mine:net"})
    assert read_tensors(weights)[0]["bias"].tolist() == [2, 2]


def test_promotions_are_rolled_back_one_by_one(layout):
    published = []
    assert registry.set_champion_if_none(layout, "wards", "one", lambda: published.append(1) or 1) == 1
    assert registry.set_champion_if_none(layout, "wards", "one", lambda: published.append(2) or 2) is None
    assert published == [1]
    with pytest.raises(InputError, match="has no candidate"):
        registry.promote(layout, "wards")
    for former, version in ((1, 2), (2, 3)):
        registry.set_candidate(layout, "wards", version)
        assert registry.repairs_version(layout, "wards", version, former) == (former == 1)
        assert registry.promote(layout, "wards") == (former, version)
    assert registry.resolve(layout, "models:/wards@champion")[0] == "models:/wards/3"
    assert registry.rollback(layout, "wards") == (3, 2)
    assert registry.rollback(layout, "wards") == (2, 1)
    assert registry.resolve(layout, "models:/wards@champion")[0] == "models:/wards/1"
    with pytest.raises(InputError, match="has no former champion"):
        registry.rollback(layout, "wards")


def test_a_new_repair_of_the_same_case_may_replace_its_champion(layout):
    client = MlflowClient(tracking_uri(layout))
    assert not registry.repairs_version(layout, "wards", 3, 2)
    for version in ("2", "3"):
        client.set_model_version_tag("wards", version, "repair.case_id", "wards-0123abcd")
    assert registry.repairs_version(layout, "wards", 3, 2)


def test_the_same_weights_of_the_same_case_are_one_version(layout):
    tests, run = examples(torch.randn(4, 3), torch.arange(4) % 2), new_run(layout)

    def published(case):
        tags = {"repair.model_is": "repaired", "repair.case_id": case}
        weights = layout.home / "1.safetensors"
        return registry.publish(layout, "twice", nn.Linear(3, 2), weights, {}, tests, run, tags)

    assert [published("one"), published("one"), published("other"), published("one")] == [1, 1, 2, 1]


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("models:/nothing@champion", "no registered model 'nothing': the registered models are twice, wards"),
        ("models:/wards@nightly", "no alias 'nightly', only"),
        ("models:/wards/9", r"no such version, 'wards' has \[1, 2, 3\]"),
    ],
)
def test_an_unknown_model_alias_or_version_is_refused(layout, uri, message):
    with pytest.raises(InputError, match=message):
        registry.resolve(layout, uri)
