"""User models."""

import pytest
import torch
from torch import nn

from repair_pipeline.errors import InputError
from repair_pipeline.models.user_model import freeze, load_weights, torchvision_model, user_model


def net(width=4):
    return nn.Sequential(nn.Linear(3, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2))


def number():
    return 3


def broken():
    raise RuntimeError("no disk")


def test_a_factory_is_called_with_its_arguments(tmp_path):
    assert user_model(f"{__name__}:net", {"width": 7}, tmp_path)[0].out_features == 7


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("net", "write package.module:function"),
        ("nowhere.here:net", "there is no module 'nowhere'"),
        (f"{__name__}:absent", "names 'absent', but"),
        (f"{__name__}:number", "returns a int: return a torch.nn.Module"),
        (f"{__name__}:broken", "fails .RuntimeError: no disk."),
    ],
)
def test_a_factory_that_makes_no_model_is_refused(factory, message, tmp_path):
    with pytest.raises(InputError, match=message):
        user_model(factory, {}, tmp_path)


def test_torchvision_makes_a_model_for_the_classes():
    assert torchvision_model("resnet18", 7, {}).fc.out_features == 7
    with pytest.raises(InputError, match="'resnet81', which torchvision does not have: did you mean"):
        torchvision_model("resnet81", 7, {})
    with pytest.raises(InputError, match=r"model\.torchvision resnet18 with model\.arguments {'wide': 2}: .*'wide'"):
        torchvision_model("resnet18", 7, {"wide": 2})


def adapted(model):
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize(
    ("which", "names"),
    [
        ("all", {"0.weight", "0.bias", "2.weight", "2.bias", "4.weight", "4.bias"}),
        ("last_layer", {"4.weight", "4.bias"}),
        ("last_block", {"2.weight", "2.bias", "4.weight", "4.bias"}),
        (("*.bias",), {"0.bias", "2.bias", "4.bias"}),
    ],
)
def test_only_the_chosen_are_adapted(which, names):
    assert adapted(freeze(net(), which)) == names


def test_the_last_block_of_a_resnet_is_its_last_layers():
    names = adapted(freeze(torchvision_model("resnet18", 2, {}), "last_block"))
    assert {name.split(".")[0] for name in names} == {"layer4", "fc"}


def test_parameters_frozen_by_the_user_stay_frozen():
    model = net()
    model[0].requires_grad_(False)
    assert adapted(freeze(model, "all")) == {"2.weight", "2.bias", "4.weight", "4.bias"}
    with pytest.raises(InputError, match="leaves no parameter that requires a gradient"):
        freeze(model, ("0.*",))


def test_weights_that_do_not_fit_are_refused_by_name():
    model, other = net(), net(width=5)
    load_weights(model, net().state_dict(), "w")
    with pytest.raises(InputError, match=r"w has '0\.weight' of shape \(5, 3\), the model's is \(4, 3\)"):
        load_weights(model, other.state_dict(), "w")
    with pytest.raises(InputError, match="w lacks '0\\.weight'"):
        load_weights(model, {}, "w")
    with pytest.raises(InputError, match="w has 'extra', which the model does not have"):
        load_weights(model, {**model.state_dict(), "extra": torch.zeros(1)}, "w")
