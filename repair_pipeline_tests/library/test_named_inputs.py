"""Inputs of several tensors in the library."""

import torch

import repair_pipeline as rp
from repair_pipeline_tests.library.parts import problem_of


class OfTwo(torch.nn.Module):
    """The linear model of a single input, which gets the input in two parts."""

    def __init__(self, whole):
        super().__init__()
        self.whole = whole

    def forward(self, left, right):
        return self.whole(torch.cat([left, right], dim=1))


def test_inputs_of_several_tensors_score_as_the_same_numbers_in_one(model, rows):
    def parted(part):
        inputs, labels = part
        return {"left": inputs[:, :1], "right": inputs[:, 1:]}, labels

    given = {part: rows[part] for part in ("train", "failures", "guard", "validation")}
    whole = problem_of(model, given)
    parts = problem_of(OfTwo(model), {part: parted(pair) for part, pair in given.items()})
    assert torch.allclose(rp.attribute(whole, "loss").influence.values, rp.attribute(parts, "loss").influence.values)
    one, other = (rp.attribute(problem, "ewc").influence.values for problem in (whole, parts))
    assert torch.allclose(one, other, atol=1e-6)


def test_a_loader_of_mappings_is_read_with_its_labels(model, rows):
    inputs, labels = rows["train"]
    mapped = [{"left": x[:1], "right": x[1:], "labels": y} for x, y in zip(inputs, labels, strict=True)]

    class Mapped(torch.utils.data.Dataset):
        def __len__(self):
            return len(mapped)

        def __getitem__(self, at):
            return mapped[at]

    others = {part: ({"left": x[:, :1], "right": x[:, 1:]}, y) for part, (x, y) in rows.items() if part != "train"}
    problem = problem_of(OfTwo(model), {"train": Mapped(), **others})
    assert torch.equal(problem.fit.labels, labels.long())
    assert problem.fit.inputs.parts["left"].shape[1] == 1
