"""Random streams."""

import numpy as np
import torch

from repair_pipeline.compute.streams import numpy_stream, torch_stream


def test_a_stream_is_decided_by_seed_and_step_name():
    for draw in (
        lambda seed, step: numpy_stream(seed, step).random(4).tolist(),
        lambda seed, step: torch.rand(4, generator=torch_stream(seed, step)).tolist(),
    ):
        drawn = {(seed, step): draw(seed, step) for seed in (0, 1) for step in ("base_model", "influence/ewc")}
        assert all(draw(*key) == values for key, values in drawn.items())
        assert len({tuple(values) for values in drawn.values()}) == 4


def test_streams_do_not_depend_on_what_was_drawn_before():
    expected = torch.rand(3, generator=torch_stream(5, "a"))
    torch.rand(100)
    np.random.default_rng().random(100)
    torch.rand(10, generator=torch_stream(5, "b"))
    assert torch.equal(torch.rand(3, generator=torch_stream(5, "a")), expected)


def test_any_seed_gives_a_stream():
    assert torch_stream(2**80, "a").initial_seed() >= 0
