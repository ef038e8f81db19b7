"""Inputs of several tensors: the same operations as on a single one, and what a model is called with."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import vmap

from repair_pipeline.continual.likelihood import Classifier
from repair_pipeline.datasets.ids import input_digests
from repair_pipeline.errors import InputError
from repair_pipeline.likelihoods.reading import reading_of, with_logits
from repair_pipeline.likelihoods.softmax import SOFTMAX
from repair_pipeline.named_tensors import NamedTensors, joined
from repair_pipeline.storage.files import map_inputs, write_inputs
from repair_pipeline.types import Examples
from repair_pipeline_tests.problems import seeded

TOKENS = torch.tensor([[1, 2, 0], [3, 3, 1], [2, 0, 0], [1, 1, 2]])
AGES = torch.tensor([[0.5], [1.5], [-1.0], [0.0]], dtype=torch.float64)


def parts(**more):
    return NamedTensors({"tokens": TOKENS, "age": AGES, "mask": TOKENS > 0, **more})


def same(one, other):
    assert list(one.parts) == list(other.parts)
    return all(torch.equal(one.parts[name], other.parts[name]) for name in one.parts)


class Net(nn.Module):
    """Reads tokens, where a mask says so, beside a number."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.head, self.older = nn.Embedding(4, 3), nn.Linear(3, 2), nn.Linear(1, 2)

    def forward(self, age, tokens, mask):
        words = (self.table(tokens) * mask[..., None]).sum(dim=1)
        return self.head(words) + self.older(age)


class InOneMapping(Net):
    def forward(self, batch):
        return super().forward(**batch)


class ByPosition(Net):
    def forward(self, tokens, age):
        return super().forward(age, tokens, tokens > 0)


def test_splitting_and_joining_gives_the_same_rows():
    assert same(joined(parts().split(3)), parts())
    assert [len(part) for part in parts().split(3)] == [3, 1]
    at = torch.tensor([2, 0])
    assert torch.equal(parts()[at].parts["age"], AGES[at])


def test_only_numbers_of_floating_point_change_their_precision():
    half = parts().to(torch.float32).parts
    assert (half["age"].dtype, half["tokens"].dtype, half["mask"].dtype) == (torch.float32, torch.int64, torch.bool)
    assert (parts().is_floating_point(), NamedTensors({"age": AGES}).is_floating_point()) == (False, True)


def test_a_function_can_be_mapped_over_its_rows():
    total = vmap(lambda row: row.parts["tokens"].sum() + row.parts["age"][0])(parts())
    assert torch.equal(total, TOKENS.sum(dim=1) + AGES[:, 0])


def test_a_file_holds_the_same_tensors(tmp_path):
    write_inputs(tmp_path / "inputs.npy", 4, parts().split(3))
    read = map_inputs(tmp_path / "inputs.npy")
    assert same(read, parts())
    assert {name: part.dtype for name, part in read.parts.items()} == {
        name: part.dtype for name, part in parts().parts.items()
    }
    assert same(read[torch.tensor([3, 1])], parts()[torch.tensor([3, 1])])


def test_a_rows_digest_changes_with_any_of_its_tensors():
    other = AGES.clone()
    other[1] += 1
    before, after = input_digests(parts()), input_digests(parts(age=other))
    assert [one == two for one, two in zip(before, after, strict=True)] == [True, False, True, True]


POSITIONS = NamedTensors({"0": TOKENS, "1": AGES})


@pytest.mark.parametrize(
    ("model", "inputs", "call"),
    [(Net, parts(), "arguments"), (InOneMapping, parts(), "mapping"), (ByPosition, POSITIONS, "arguments")],
)
def test_a_model_gets_its_arguments_and_its_gradients_are_those_of_rows(model, inputs, call):
    net = with_logits(seeded(model()), inputs, 2, SOFTMAX)
    assert reading_of(net).call == call
    expected = seeded(Net())(AGES, TOKENS, TOKENS > 0)
    assert torch.equal(net(inputs), expected)
    # A DataLoader's batch of rows is a dict.
    assert torch.equal(net(dict(inputs.parts)), expected)
    rows = Examples(np.array(list("abcd")), inputs, torch.tensor([0, 1, 1, 0]))
    classifier = Classifier(net)
    actual = classifier.gradients(classifier.theta_hat, rows)
    for at in range(4):
        reference = seeded(Net())
        value = reference(AGES[[at]], TOKENS[[at]], TOKENS[[at]] > 0).log_softmax(dim=1)[0, rows.labels[at]]
        gradients = torch.autograd.grad(value, list(reference.parameters()))
        assert (actual[at] - torch.cat([part.flatten() for part in gradients])).abs().max() < 1e-12


def test_numbers_are_converted_to_the_models_precision_and_tokens_are_not():
    inputs = parts(age=AGES.float())
    net = with_logits(seeded(Net()), inputs, 2, SOFTMAX)
    assert reading_of(net).cast == "float"
    assert torch.equal(net(inputs), seeded(Net())(AGES, TOKENS, TOKENS > 0))


def test_what_reads_one_tensor_says_that_there_are_several():
    with pytest.raises(InputError, match="one tensor, but these have tokens, age, mask"):
        _ = Examples(np.array(list("abcd")), parts(), torch.zeros(4, dtype=torch.int64)).tensor


def test_rows_of_several_sources_are_joined():
    rows = Examples(np.array(list("abcd")), parts(), torch.arange(4))
    again = Examples.concat([rows[:1], rows[1:].in_memory()])
    assert same(again.inputs, parts())
    assert again.labels.tolist() == [0, 1, 2, 3]
