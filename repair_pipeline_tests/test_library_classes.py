"""An instance of a method or a treatment gives the same result as its name."""

import pytest
import torch

import repair_pipeline as rp
from repair_pipeline.errors import InputError
from repair_pipeline.influence.methods import METHODS
from repair_pipeline.library.settings import name_of
from repair_pipeline.training.fit import predictions
from repair_pipeline.treatment import finetuning
from repair_pipeline.treatment.treatments import TREATMENTS


@pytest.fixture(scope="module")
def problem(_trained_task):
    task = _trained_task
    model = task.classifier.module(task.theta_hat)
    right, wrong = (
        part[(predictions(model, part) == part.labels) == is_right]
        for part, is_right in ((task.tests.guard, True), (task.tests.query, False))
    )
    rows = {"failures": wrong, "guard": right, "validation": task.validation}
    given = {part: (each.inputs, each.labels) for part, each in rows.items()}
    return rp.RepairProblem(model, (task.fit.inputs, task.fit.labels), **given)


@pytest.mark.parametrize(
    ("name", "instance"),
    [
        ("ewc", lambda: rp.influence.EWC()),
        ("ewc_kfac", lambda: rp.influence.EWC(curvature="kfac")),
        ("random", lambda: rp.influence.Random()),
    ],
)
def test_an_instance_scores_as_its_name_does(problem, name, instance):
    by_class, by_name = rp.attribute(problem, instance()), rp.attribute(problem, name)
    assert by_class.method == name
    assert torch.equal(by_class.influence.values, by_name.influence.values)


def test_settings_of_an_instance_are_those_of_its_name(problem):
    by_class = rp.attribute(problem, rp.influence.EWC(gamma=0.01))
    assert torch.equal(by_class.influence.values, rp.attribute(problem, "ewc", gamma=0.01).influence.values)


def test_a_treatment_is_called_and_removes_as_its_name_does(problem):
    causes = rp.attribute(problem, "loss").top(20)
    newton = rp.repair(problem, causes, rp.treatment.Newton(gamma=1e-3))
    by_name = rp.repair(problem, causes, "newton", gamma=1e-3)
    assert (newton.name, newton.causes) == ("newton", causes)
    assert all(map(torch.equal, newton.model.parameters(), by_name.model.parameters()))
    learnt = rp.repair(problem, causes, rp.treatment.LearnQuery())
    assert (learnt.name, len(learnt.causes)) == ("learn_query", 0)


@pytest.mark.parametrize(
    ("module", "makers"),
    [
        (rp.influence, dict(METHODS)),
        (rp.treatment, {name: recipe.treatment for name, recipe in TREATMENTS.items() if name != "auto"}),
    ],
    ids=["influence", "treatment"],
)
def test_every_entry_of_the_catalogue_is_of_a_class_that_is_exported(module, makers):
    exported = {getattr(module, name) for name in module.__all__}
    assert {type(make()) for make in makers.values()} == exported
    assert {name_of(make(), makers) for make in makers.values()} == set(makers) - {"semi_oracle", "reseed"}


def test_a_class_that_is_in_no_catalogue_is_called_by_its_own_name():
    class Mine:
        pass

    assert name_of(Mine(), METHODS) == "Mine"


def raised(model, train, validation, *, seed, device, progress):
    """A training whose result is known: as many added to the bias as there are rows."""
    with torch.no_grad():
        model[2].bias += len(train)
    return model


def trained_by(problem, training):
    rows = {"failures": problem.tests.query, "guard": problem.tests.guard, "validation": problem.validation}
    given = {name: (each.inputs, each.labels) for name, each in rows.items()}
    return rp.RepairProblem(problem.base, (problem.fit.inputs, problem.fit.labels), **given, training=training)


@pytest.fixture
def as_reached(monkeypatch):
    """Fine-tuning returns what it reached, not the best point on the way there, which has tests of its own."""
    monkeypatch.setattr(finetuning, "between", lambda task, reached: reached)


def test_a_function_of_the_owners_trains_in_the_library_too(problem, as_reached):
    causes = rp.attribute(problem, "loss").top(20)
    repair = rp.repair(trained_by(problem, raised), causes, "finetune")
    torch.testing.assert_close(repair.model[2].bias, problem.base[2].bias + len(problem.fit) - 20)


def test_fields_of_a_recipe_train_in_the_library_too(problem, as_reached):
    other = trained_by(problem, rp.training.UserRecipe(epochs=2, optimiser="sgd", learning_rate=0.1, batch_size=1000))
    causes = rp.attribute(problem, "loss").top(20)
    repair = rp.repair(other, causes, "finetune")
    rest, expected = problem.fit.without(causes.as_set), problem.classifier.theta_hat
    for _ in range(2):
        expected = expected + 0.1 * problem.classifier.gradients(expected, rest).mean(dim=0)
    torch.testing.assert_close(torch.nn.utils.parameters_to_vector(repair.model.parameters()), expected)


def test_what_is_no_training_is_refused(problem):
    with pytest.raises(InputError, match=r"training is a dict: give rp\.training\.UserRecipe"):
        trained_by(problem, {"epochs": 2})


@pytest.mark.parametrize("part", ["validation", "tuning", "guard", "failures"])
def test_a_part_without_a_row_is_named(problem, part):
    rows = {"failures": problem.tests.query, "guard": problem.tests.guard, "validation": problem.validation}
    given = {name: (each.inputs, each.labels) for name, each in rows.items()} | {
        part: (problem.fit.inputs[:0], problem.fit.labels[:0])
    }
    with pytest.raises(InputError, match=f"{part} has no rows"):
        rp.RepairProblem(problem.base, (problem.fit.inputs, problem.fit.labels), **given)


@pytest.mark.parametrize("treatment", ["finetune", "newton", "ewc_deletion", "relabel", "combined"])
def test_causes_must_leave_rows_to_train_and_validate(problem, treatment):
    fit, validation = (rows.ids.tolist() for rows in (problem.fit, problem.validation))
    bad = {
        "all .* scored rows": fit,
        "all .* validation rows": [fit[0], *validation],
        "are validation": validation[:-1],
    }
    for message, causes in bad.items():
        with pytest.raises(InputError, match=message) as error:
            rp.repair(problem, causes, treatment)
        assert "\n" not in str(error.value)
