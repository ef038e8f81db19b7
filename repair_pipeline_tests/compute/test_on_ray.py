"""The engine ``ray`` on a cluster of three nodes: the same results, also when workers and nodes are lost."""

import os
import shutil
import signal
import threading
import time
from functools import partial

import pytest
import torch

from repair_pipeline.cases.resolve import with_settings
from repair_pipeline.compute import engines
from repair_pipeline.compute.engines import LOCAL, spread, using
from repair_pipeline.compute.on_ray import ADDRESS, Ray
from repair_pipeline.continual.likelihood import Classifier
from repair_pipeline.entry_point import entry_point
from repair_pipeline.errors import InputError
from repair_pipeline.pipeline.file import File
from repair_pipeline.pipeline.step import Step
from repair_pipeline.pipeline.steps import STEPS
from repair_pipeline.storage.files import write_text
from repair_pipeline_tests.compute.test_engines import fisher, influences, likelihoods
from repair_pipeline_tests.pipeline.conftest import TINY, case_at
from repair_pipeline_tests.pipeline.running import run
from repair_pipeline_tests.pipeline.running import values as contents
from repair_pipeline_tests.problems import logistic

pytestmark = pytest.mark.ray

STEP = {step.name: step for step in STEPS}
GATED = with_settings(
    TINY,
    [
        "influence={cross_fit: {}, random: {}}",
        "treat=[cross_fit]",
        "treatments={finetune: {}}",
        "gate={controls: 3}",
        "patch={trainings: 2}",
    ],
)
SMALL = 80 * 2**20
"""Bytes of a node's object store."""


@pytest.fixture(scope="module")
def cluster():
    """Three nodes of one CPU each; this process is on the first."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    before = signal.getsignal(signal.SIGTERM)
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": SMALL})
    for _ in range(2):
        made.add_node(num_cpus=1, object_store_memory=SMALL)
    signal.signal(signal.SIGTERM, before)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ADDRESS, made.address)
        yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture
def engine(cluster):
    with using(Ray(cpus=1, gpus=0, retries=3)):
        yield


def where(piece, progress):
    import ray

    time.sleep(0.3)
    return piece, ray.get_runtime_context().get_node_id(), torch.get_num_threads()


def test_pieces_run_on_all_nodes_come_back_in_order_and_are_counted(engine):
    counted = []
    results = list(spread(where, range(12), lambda done, total: counted.append((done, total))))
    pieces, nodes, threads = zip(*results, strict=True)
    assert pieces == tuple(range(12))
    assert len(set(nodes)) == 3
    assert set(threads) == {torch.get_num_threads()}
    assert counted[-1] == (12, 12)
    assert counted == sorted(counted)


def refuses(piece, progress):
    if piece == 1:
        raise InputError("row 1 cannot be used")
    return piece


def test_an_error_of_the_work_is_raised_here_as_it_is_and_the_workers_lines_are_with_it(engine):
    with pytest.raises(InputError) as raised:
        list(spread(refuses, range(3)))
    assert type(raised.value) is InputError
    assert str(raised.value) == "row 1 cannot be used"
    assert "in refuses" in raised.value.__notes__[0]


def killed_once(folder, piece, progress):
    """The first time that piece 2 is worked on, its worker is killed half way."""
    if piece == 2 and not (folder / "killed").exists():
        (folder / "killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return piece * 10


def test_a_worker_killed_half_way_leaves_the_results_right(engine, tmp_path):
    assert list(spread(partial(killed_once, tmp_path), range(6))) == [0, 10, 20, 30, 40, 50]
    assert (tmp_path / "killed").exists()


def killed_always(piece, progress):
    os.kill(os.getpid(), signal.SIGKILL)


def test_work_that_is_lost_each_time_is_an_error_of_one_line(cluster):
    with using(Ray(1, 0, retries=1)), pytest.raises(RuntimeError, match="a task was lost with its worker") as raised:
        list(spread(killed_always, range(2)))
    assert "\n" not in str(raised.value)


def slow_square(folder, piece, progress):
    (folder / f"begun-{piece}").touch()
    time.sleep(1)
    return piece**2


def test_a_node_removed_half_way_leaves_the_results_right(cluster, engine, tmp_path):
    node = cluster.add_node(num_cpus=1, object_store_memory=SMALL)
    cluster.wait_for_nodes()

    def remove():
        while not (tmp_path / "begun-3").exists():
            time.sleep(0.05)
        cluster.remove_node(node, allow_graceful=False)

    removing = threading.Thread(target=remove)
    removing.start()
    results = list(spread(partial(slow_square, tmp_path), range(16)))
    removing.join()
    assert results == [piece**2 for piece in range(16)]


def test_more_than_any_node_has_is_refused_in_one_line(cluster):
    with (
        using(Ray(cpus=4, gpus=0, retries=0)),
        pytest.raises(RuntimeError, match=r"a task needs 4 CPU, but no node .* \(at most 1 CPU\): set ray_cpus"),
    ):
        list(spread(where, range(2)))


@pytest.mark.parametrize("values", [fisher, likelihoods, influences])
def test_sums_and_values_over_rows_are_the_same_bits(values, engine, monkeypatch):
    monkeypatch.setattr(engines, "_ROWS", 7)
    classifier = Classifier(logistic())
    with using(LOCAL):
        here = values(classifier, classifier.theta_hat)
    assert torch.equal(values(classifier, classifier.theta_hat), here)


def test_a_model_that_cannot_be_sent_is_worked_on_here(engine, monkeypatch, caplog):
    monkeypatch.setattr(engines, "_ROWS", 20)
    scripted = Classifier(torch.jit.script(logistic()))
    here = likelihoods(Classifier(logistic()), scripted.theta_hat)
    assert torch.equal(likelihoods(scripted, scripted.theta_hat), here)
    assert "it runs here" in caplog.text


NET = """
from torch import nn


class Net(nn.Linear):
    pass


def net():
    return Net(4, 3).double()
"""


def test_a_users_module_is_sent_along_as_it_is_here(engine, tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "_ROWS", 20)
    (tmp_path / "my_net_of_ray.py").write_text(NET)
    model = entry_point("model.factory", "my_net_of_ray:net", tmp_path)()
    (tmp_path / "my_net_of_ray.py").unlink()  # no worker can import it
    model.load_state_dict(logistic().state_dict())
    classifier = Classifier(model)
    here = likelihoods(Classifier(logistic()), classifier.theta_hat)
    assert torch.equal(likelihoods(classifier, classifier.theta_hat), here)


# A case's steps.


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """The case, run without an engine."""
    case = case_at(tmp_path_factory.mktemp("local"), GATED)
    assert run(case).failed == {}
    return case


@pytest.mark.parametrize("name", ["gate_controls", "patch_verdict"])
def test_a_step_on_ray_makes_the_same_files_as_without(local, engine, tmp_path, name):
    home = shutil.copytree(local.layout.home, tmp_path / "home")
    case = case_at(home, GATED)
    expected = {path.name: contents(path) for file in STEP[name].files(local) for path in file.paths}
    made = STEP[name].run(case, force=True)
    assert {path.name: contents(path) for path in made} == expected
    assert STEP[name].stale(case) == {}  # an engine is no setting of a result


def dying_step(folder):
    """Two files; while the first is made for the first time, its worker is killed."""

    def make(number, path, progress):
        if number == 0 and not (folder / "killed").exists():
            (folder / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        write_text(path, f"{number}")

    return Step("dying", (), lambda case: [File(folder / str(n), (), partial(make, n)) for n in range(2)])


def test_a_worker_killed_while_it_makes_a_file_leaves_it_whole_and_recorded(local, engine, tmp_path):
    step = dying_step(tmp_path)
    assert step.run(local) == [tmp_path / "0", tmp_path / "1"]
    assert (tmp_path / "killed").exists()
    assert [(tmp_path / str(number)).read_text() for number in range(2)] == ["0", "1"]
    assert step.stale(local) == {}
