"""Weights files without tied tensors, with name prefixes, or with further tensors."""

import pytest
import torch
from safetensors.torch import load_file, load_model, save_model
from torch import nn

from repair_pipeline.errors import InputError
from repair_pipeline.models.user_model import load_weights


class Tied(nn.Module):
    """The same weight under two names, as a language model's head."""

    def __init__(self):
        super().__init__()
        self.enc, self.dec, self.head = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2)
        self.dec.weight = self.enc.weight

    def forward(self, x):
        return self.head(self.dec(self.enc(x).relu()))


class Shared(nn.Module):
    """The same module under two names, and parameters that share memory alone."""

    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(3)
        self.again, self.a, self.b = self.norm, nn.Linear(3, 3), nn.Linear(3, 3)
        self.b.weight = nn.Parameter(self.a.weight.data)

    def forward(self, x):
        return self.b(self.a(self.again(self.norm(x))))


def plain():
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))


def under(prefix, model):
    return {prefix + name: value.clone() for name, value in model.state_dict().items()}


def same(model, other):
    return all(torch.equal(value, other.state_dict()[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("make", [Tied, Shared])
def test_tied_tensors_are_loaded_as_safetensors_does(make, tmp_path, caplog):
    trained, loaded, expected = make(), make(), make()
    save_model(trained, str(tmp_path / "w"))
    load_model(expected, str(tmp_path / "w"))
    tensors = load_file(tmp_path / "w")
    assert tensors.keys() < trained.state_dict().keys()
    load_weights(loaded, tensors, "w")
    assert same(loaded, expected)
    assert same(loaded, trained)
    assert not caplog.records


@pytest.mark.parametrize("make", [Tied, plain])
@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "module._orig_mod.", "net.inner.", "student."])
def test_a_prefix_is_ignored_with_a_warning(make, prefix, caplog):
    trained, loaded = make(), make()
    load_weights(loaded, under(prefix, trained), "w")
    assert same(loaded, trained)
    assert [r.getMessage() for r in caplog.records] == [f"the names in w begin with {prefix!r}: the prefix is ignored"]


def test_further_tensors_are_ignored_with_a_warning(caplog):
    trained, loaded = plain(), plain()
    beside = {"criterion.weight": torch.ones(2), **under("ema.", plain())}
    load_weights(loaded, under("model.", trained) | beside, "w")
    assert same(loaded, trained)
    message = "the names in w begin with 'model.': the prefix is ignored; criterion.weight, ema.0.bias, ema.0.weight, "
    assert caplog.records[0].getMessage() == message + "ema.2.bias, ema.2.weight ignored"


def test_compiled_parts_and_wrapped_models_are_recognised(caplog):
    trained, loaded = plain(), plain()
    inner = {name.replace("0.", "0._orig_mod."): value for name, value in under("", trained).items()}
    load_weights(loaded, inner, "w")
    assert same(loaded, trained)
    wrapped = nn.DataParallel(plain())
    load_weights(wrapped, under("", trained), "w")
    assert same(wrapped.module, trained)
    both = nn.DataParallel(plain())
    load_weights(both, under("model.", trained), "w")
    assert same(both.module, trained)
    assert len(caplog.records) == 3


def test_exact_names_take_precedence(caplog):
    trained, loaded = nn.DataParallel(plain()), nn.DataParallel(plain())
    load_weights(loaded, under("", trained), "w")
    assert same(loaded, trained)
    assert not caplog.records


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (lambda: under("", plain()) | {"extra": torch.ones(1)}, "w has 'extra', which the model does not have"),
        (lambda: under("a.", plain()) | under("b.", plain()), "w has the model twice, under 'a.' and 'b.': keep"),
        (lambda: {k: v for k, v in under("a.", plain()).items() if "2.bias" not in k}, "w lacks '0.weight', which"),
        (lambda: under("module.", nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 5))), "of shape .5, 4., the"),
        (lambda: under("0", plain()), "w lacks '0.weight', which"),
    ],
)
def test_other_weights_are_still_refused(tensors, message):
    with pytest.raises(InputError, match=message):
        load_weights(plain(), tensors(), "w")
