"""Engines: what is the same in all of them, and how one that cannot be used is refused. No cluster is started."""

import os
import pickle
import socket
import threading
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from repair_pipeline.cli.main import app
from repair_pipeline.compute import engines, on_ray
from repair_pipeline.compute.engines import LOCAL, Processes, attempts, shards, spread, using
from repair_pipeline.compute.on_ray import ADDRESS, Ray, ray_engine
from repair_pipeline.continual.fisher import squared_gradients
from repair_pipeline.continual.likelihood import Classifier, log_likelihoods
from repair_pipeline.continual.natural_gradient import PointEstimate
from repair_pipeline.errors import InputError
from repair_pipeline.pipeline.engine import chosen_engine
from repair_pipeline.problem.reading import linear
from repair_pipeline.types import Examples, silent
from repair_pipeline_tests.problems import blobs, logistic, repair_task


def square(number, progress):
    progress(1, 1)
    return number**2


def fails_at_one(number, progress):
    if number == 1:
        raise ValueError("one is too many")
    return number


class Backwards:
    """An engine that does the last piece first."""

    def results(self, work, pieces, progress):
        made = {at: work(pieces[at], progress) for at in reversed(range(len(pieces)))}
        yield from ((lambda at=at: made[at]) for at in range(len(pieces)))


@pytest.mark.parametrize("engine", [LOCAL, Backwards(), Processes(2)], ids=lambda engine: type(engine).__name__)
def test_results_come_in_the_order_of_the_pieces(engine):
    with using(engine):
        assert list(spread(square, range(5))) == [0, 1, 4, 9, 16]


def test_pieces_are_done_here_one_by_one_as_their_results_are_asked_for():
    begun = []
    results = spread(lambda piece, progress: begun.append(piece), range(3))
    assert begun == []
    next(results)
    assert begun == [0]


def test_one_failed_piece_stops_no_other():
    results = list(attempts(fails_at_one, range(3)))
    assert results[2]() == 2
    with pytest.raises(ValueError, match="one is too many"):
        results[1]()


def test_an_engine_is_used_inside_alone_and_not_by_other_threads():
    seen = []
    with using(Backwards()):
        thread = threading.Thread(target=lambda: seen.extend(attempts(square, [3])))
        thread.start()
        thread.join()
    assert seen[0].func is square  # the other thread's: not begun
    assert list(spread(square, [3])) == [9]


def test_a_single_piece_starts_no_ray():
    with using(Ray(1, 0, 0)):
        assert list(spread(square, [7])) == [49]


def test_examples_travel_with_their_own_rows_only():
    rows = blobs(1000, seed=1)[10:20]
    sent = pickle.dumps(rows)
    there = pickle.loads(sent)
    assert len(sent) < 5000
    assert there.ids.tolist() == rows.ids.tolist()
    torch.testing.assert_close(there.inputs, rows.inputs, rtol=0, atol=0)


# Sums and values over rows.


def fisher(classifier, theta, progress=silent):
    return squared_gradients(classifier, theta, ROWS, batch_size=3, progress=progress)


def likelihoods(classifier, theta, progress=silent):
    return log_likelihoods(classifier, theta, ROWS, batch_size=3)


def influences(classifier, theta, progress=silent):
    task = replace(repair_task(), classifier=classifier, fit=ROWS)
    return linear(task, PointEstimate(theta), PointEstimate(theta.cos()))


ROWS = blobs(40, seed=1)
OVER_ROWS = pytest.mark.parametrize("values", [fisher, likelihoods, influences])


@OVER_ROWS
def test_what_is_made_by_shards_of_rows_is_what_is_made_of_all_at_once(values, monkeypatch):
    classifier = Classifier(logistic())
    whole = values(classifier, classifier.theta_hat)
    monkeypatch.setattr(engines, "_ROWS", 7)
    torch.testing.assert_close(values(classifier, classifier.theta_hat), whole, rtol=1e-12, atol=1e-14)


@OVER_ROWS
def test_the_order_in_which_shards_are_done_changes_no_bit(values, monkeypatch):
    monkeypatch.setattr(engines, "_ROWS", 7)
    classifier = Classifier(logistic())
    here = values(classifier, classifier.theta_hat)
    with using(Backwards()):
        assert torch.equal(values(classifier, classifier.theta_hat), here)


def test_progress_counts_the_rows_of_all_shards(monkeypatch):
    monkeypatch.setattr(engines, "_ROWS", 7)
    classifier, counted = Classifier(logistic()), []
    fisher(classifier, classifier.theta_hat, lambda done, total: counted.append((done, total)))
    assert counted[-1] == (40, 40)
    assert counted == sorted(set(counted))


def test_a_shard_has_ten_thousand_rows_or_a_quarter_of_a_gibibyte():
    small, large = blobs(25_000, seed=1), Examples(np.arange(50).astype(str), Huge(), torch.zeros(50).long())
    assert [len(part) for part in shards(small)] == [10_000, 10_000, 5_000]
    assert [len(part) for part in shards(large)] == [16, 16, 16, 2]


class Huge:
    """50 inputs of 16 MiB each, which nothing reads."""

    shape = torch.Size([50, 4, 2**20])

    def __len__(self):
        return 50

    def __getitem__(self, rows):
        raise AssertionError("nothing is read to cut shards")


# What cannot be used: one line, at once.


@contextmanager
def server(answer):
    """Something that listens on loopback, and says ``answer`` to whoever connects."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve():
        connection, _ = listening.accept()
        with connection:
            connection.recv(100)
            connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"127.0.0.1:{listening.getsockname()[1]}"
    thread.join()
    listening.close()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "localhost", "127.0.0.1:port", "nowhere.invalid:6379"])
def test_an_address_where_nothing_listens_is_refused_at_once(address, monkeypatch):
    monkeypatch.setenv(ADDRESS, address)
    with pytest.raises(InputError, match=f"RAY_ADDRESS is '{address}', but no Ray answers there"):
        ray_engine(1, 0, 3)


def test_a_server_that_is_no_ray_is_refused(monkeypatch):
    with server(b"HTTP/1.1 400 Bad Request\r\n\r\n") as address:
        monkeypatch.setenv(ADDRESS, address)
        with pytest.raises(InputError, match="what listens there is no Ray"):
            ray_engine(1, 0, 3)


def test_a_server_that_says_nothing_is_refused_after_some_seconds(monkeypatch):
    monkeypatch.setattr(on_ray, "_ANSWERS_WITHIN", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        monkeypatch.setenv(ADDRESS, f"127.0.0.1:{listening.getsockname()[1]}")
        with pytest.raises(InputError, match="no Ray answers there \\(timed out\\)"):
            ray_engine(1, 0, 3)


def test_an_engine_that_is_not_installed_ends_a_run_with_one_line(monkeypatch, tmp_path):
    monkeypatch.setenv("REPAIR_HOME", str(tmp_path))
    monkeypatch.setenv("REPAIR_ENGINE", "ray")
    monkeypatch.setattr(on_ray, "find_spec", lambda name: None)
    ended = CliRunner().invoke(app, ["run", "digits-label_noise-s0"])
    assert ended.exit_code == 2
    assert ended.stderr.splitlines() == [
        "repair: the setting engine is 'ray', but Ray is not installed: pip install 'repair_pipeline[ray]', or set "
        "engine to 'local'"
    ]
    assert not (tmp_path / "results").exists()


def test_settings_choose_the_engine_and_only_a_gpu_reserves_gpus(monkeypatch):
    monkeypatch.delenv(ADDRESS, raising=False)
    with chosen_engine(torch.device("cpu")):
        assert engines._in_force.get() is LOCAL
    for name, value in {"ENGINE": "ray", "RAY_CPUS": "2", "RAY_GPUS": "0.5", "RAY_RETRIES": "1"}.items():
        monkeypatch.setenv(f"REPAIR_{name}", value)
    pytest.importorskip("ray")
    with chosen_engine(torch.device("cpu")):
        assert engines._in_force.get() == Ray(2, 0, 1)
    with chosen_engine(torch.device("cuda")):
        assert engines._in_force.get() == Ray(2, 0.5, 1)
    assert engines._in_force.get() is LOCAL
    assert os.environ["REPAIR_ENGINE"] == "ray"
