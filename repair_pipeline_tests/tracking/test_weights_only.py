"""Models that torch.export cannot export."""

import logging
from types import SimpleNamespace

import mlflow
import pytest
import torch
from torch import nn

from repair_pipeline.storage.files import read_tensors, write_tensors
from repair_pipeline.storage.layout import Layout
from repair_pipeline.tracking import registry, runs
from repair_pipeline.tracking.runs import log_model
from repair_pipeline.tracking.store import using
from repair_pipeline_tests.architectures import net
from repair_pipeline_tests.problems import examples
from repair_pipeline_tests.tracking.conftest import new_run

TESTS = examples(torch.randn(4, 3), torch.arange(4) % 2)


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    return Layout(tmp_path_factory.mktemp("home"))


def published(layout, which, records):
    runs._warn_weights_only.cache_clear()
    model, weights = net(which, features=3), layout.home / f"{which}.safetensors"
    write_tensors(weights, model.state_dict(), {})
    run = new_run(layout)
    with using(layout), mlflow.start_run(run_id=run):
        log_model(model, TESTS, "repaired_model")
    records.clear()
    version = registry.publish(
        layout, which, model, weights, {"factory": "a:b"}, TESTS, run, {"repair.model_is": "base"}
    )
    return model, version


@pytest.mark.parametrize("which", ["branch", "nested", "packed"])
def test_a_version_with_only_weights_is_promoted_and_resolved_like_any_other(layout, which, caplog):
    model, version = published(layout, which, caplog.records)
    registry.set_candidate(layout, which, version)
    assert registry.promote(layout, which) == (None, version)
    uri, weights, architecture = registry.resolve(layout, f"models:/{which}@champion")
    assert (uri, architecture) == (f"models:/{which}/{version}", {"factory": "a:b"})
    tensors = read_tensors(weights)[0]
    assert tensors.keys() == model.state_dict().keys()
    assert all(torch.equal(tensors[name], value) for name, value in model.state_dict().items())


def test_one_warning_says_that_only_the_weights_are_logged(layout, caplog):
    runs._warn_weights_only.cache_clear()
    run = new_run(layout)
    with caplog.at_level(logging.WARNING, "repair_pipeline"), using(layout), mlflow.start_run(run_id=run):
        for name in ("one", "other"):
            info = log_model(net("branch", features=3), TESTS, name)
    messages = [record.getMessage() for record in caplog.records if record.name.startswith("repair_pipeline")]
    assert len(messages) == 1
    assert messages[0].startswith("MLflow gets only the weights of the model and cannot serve it: torch.export fails (")
    assert list(info.flavors) == ["safetensors"]


def test_a_model_for_which_there_is_no_room_is_an_error_and_torch_is_not_asked(monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=2**20))
    monkeypatch.setattr(torch.export, "export", lambda *_, **__: pytest.fail("it would abort the process"))
    with pytest.raises(OSError, match="No space left on device"):
        log_model(nn.Linear(2, 2), examples(torch.zeros(2, 2), torch.zeros(2).long()), "model")
