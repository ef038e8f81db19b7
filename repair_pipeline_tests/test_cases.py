"""The package ``cases``: specs, presets, ids, grids. (A test folder of that name would hide ``cases.py``.)"""

import re

import numpy as np
import pytest
import torch

from repair_pipeline.cases.build import build_model, load_dataset
from repair_pipeline.cases.families import FAMILIES
from repair_pipeline.cases.grid import Variant, variants
from repair_pipeline.cases.presets import case_id, preset
from repair_pipeline.cases.resolve import load_spec, with_settings
from repair_pipeline.cases.spec import parse_spec
from repair_pipeline.errors import InputError
from repair_pipeline.influence.baselines import Loss
from repair_pipeline.influence.ewc import EWCInfluence
from repair_pipeline.training.fit import Schedule
from repair_pipeline.treatment.ewc_deletion import EWCDeletion
from repair_pipeline_tests.problems import examples

DIGITS = preset("digits-label_noise-s0")
OWN = {"name": "own", "dataset": {"name": "digits", "train_size": 500}}


# Bad input: one line that names the key and the value.

LAUGHS = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"a{at}: &a{at} [{', '.join(10 * [f'*a{at - 1}'])}]\n" for at in range(1, 10)
)
"""A few lines whose aliases stand for ten thousand million values."""


@pytest.mark.parametrize(
    ("setting", "key", "value"),
    [
        ("corruption.rate=1", "corruption.rate", "1"),
        ("corruption.rate=1.5", "corruption.rate", "1.5"),
        ("corruption.rate=-0.1", "corruption.rate", "-0.1"),
        ("corruption.rate=.nan", "corruption.rate", "nan"),
        ("corruption.rate=often", "corruption.rate", "'often'"),
        (
            "corruption.kind=fog",
            "corruption",
            "give one of label_noise, input_noise, poison, instance_noise, imbalance",
        ),
        ("corruption={kind: instance_noise, rate: 0.3, annotators: 1}", "corruption.annotators", "2"),
        ("corruption={kind: poison, classes: [1], rate: 0.3}", "corruption.epsilon", "missing"),
        ("corruption={kind: imbalance, classes: [], keep: 0.3}", "corruption.classes", "at least 1"),
        ("failures={classes: []}", "failures.classes", "at least 1"),
        ("corruption.confusion.1={7: 0.5}", "corruption.confusion", "0.5"),
        ("corruption.confusion.1={1: 1.0}", "corruption.confusion", "class 1"),
        ("corruption.confusion={one: {2: 1.0}}", "corruption.confusion", "'one'"),
        ("corruption.chance=0.3", "corruption.chance", "not a key"),
        ("dataset.name=fashion", "dataset.name", "'fashion'"),
        ("dataset.train_size=0", "dataset.train_size", "0"),
        ("model.name=vit", "model.name", "'vit'"),
        ("seed=-1", "seed", "-1"),
        ("seed=1.5", "seed", "1.5"),
        ("sed=1", "sed", "not a key"),
        ("validation_fraction=0", "validation_fraction", "0"),
        ("validation_fraction=0.5", "validation_fraction", "0.5"),
        ("query_fraction=0", "query_fraction", "0"),
        ("query_fraction=1.01", "query_fraction", "1.01"),
        ("compute.threads=0", "compute.threads", "0"),
        ("training.learning_rate=0", "training.learning_rate", "0"),
        ("training.learning_rate=.nan", "training.learning_rate", "nan"),
        ("training.batch_size=0", "training.batch_size", "0"),
        ("training.max_epochs=0", "training.max_epochs", "0"),
        ("training.patience=0", "training.patience", "0"),
        ("training.epoch=3", "training.epoch", "did you mean epochs?"),
        ("training.epochs=3", "training.max_epochs", "does not go with the other keys of training"),
        ("training={epochs: 0}", "training.epochs", "0"),
        ("training={epochs: 2, momentum: 0.9}", "training", "momentum is a setting of sgd, not of adam"),
        ("training={epochs: 2, schedule: triangle}", "training.schedule", "'triangle'"),
        ("training={function: a:b, epochs: 2}", "training.epochs", "does not go with the other keys of training"),
        ("training={function: 3}", "training.function", "3"),
        ("training=3", "training", "3"),
        ("influence.shapley={}", "influence", "'shapley'"),
        ("influence.ewc.gama=1", "ewc.gama", "not a key"),
        ("influence.ewc.gamma=-1", "ewc.gamma", "-1"),
        ("influence.ewc.stopping=never", "ewc.stopping", "'never'"),
        ("influence.ewc=3", "influence.ewc", "3"),
        ("treatments.surgery={}", "treatments", "'surgery'"),
        ("treatments.ewc_deletion.tolerance=2", "ewc_deletion.tolerance", "2"),
        ("treat=[shapley]", "treat", "'shapley'"),
        ("treat=[ewc, ewc]", "treat", "'ewc'"),
        ("causes={}", "causes", "exactly one"),
        ("causes={top: 3, fraction: 0.1}", "causes", "exactly one"),
        ("causes.top=0", "causes.top", "0"),
        ("causes.top=many", "causes.top", "'many'"),
        ("causes={fraction: 1}", "causes.fraction", "1"),
        ("corruption=null", "causes.top", "'planted'"),
        ("corruption.rate=0", "causes.top", "'planted'"),
        ("name=a/b", "name", "'a/b'"),
        ("seed.x=1", "seed", "0"),
        ("seed", "'seed'", "KEY=VALUE"),
        ("=3", "'=3'", "KEY=VALUE"),
        ("seed=[1", "seed=[1", "YAML"),
    ],
    ids=str,
)
def test_a_bad_setting_is_refused_in_one_line_that_names_key_and_value(setting, key, value):
    with pytest.raises(InputError) as refused:
        with_settings(DIGITS, [setting])
    message = str(refused.value)
    assert key in message
    assert value in message
    assert len(message.splitlines()) == 1
    # Pydantic's own names for the members of a union mean nothing to a user.
    assert not any(jargon in message for jargon in ("constrained", "literal[", "[key]", "pydantic"))


@pytest.mark.parametrize(
    "name", ["nowhere", "digits-label_noise", "digits-label_noise-s", "digits-label_noise-s01", ""]
)
def test_an_unknown_case_is_refused_with_three_examples_of_presets(name):
    with pytest.raises(
        InputError, match=r"there is no case .*such as digits-label_noise-s0, .*mnist-label_noise-s0"
    ) as e:
        load_spec(name)
    given, *_ = re.findall(r"\(such as (.*); repair list shows all\)", str(e.value))
    assert len(given.split(", ")) == 3
    assert all(preset(example) for example in given.split(", "))


def test_an_unknown_case_is_refused_with_the_nearest_presets_of_its_seed():
    with pytest.raises(InputError, match=r"did you mean mnist-poison-s7[,?]"):
        load_spec("mnist-poisson-s7")
    with pytest.raises(InputError, match=r"did you mean digits-label_noise-s0[,?]"):
        load_spec("digits-label_noise")


def test_a_second_rule_for_the_causes_is_refused_with_the_setting_of_the_whole_key():
    with pytest.raises(InputError, match=r"causes\.top=planted already, .*--set causes='\{fraction: 0\.1\}'$"):
        with_settings(DIGITS, ["causes.fraction=0.1"])
    for settings in (["causes={fraction: 0.1}"], ["causes.top=null", "causes.fraction=0.1"], ["causes.top=40"]):
        assert with_settings(DIGITS, settings).causes != DIGITS.causes


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: [1", "not YAML"),
        ("seed: 1\nname: x\nseed: 2", "not YAML \\(the key seed is given twice, in lines 1 and 3\\)"),
        ("dataset: {train: a, train: b}", "the key train is given twice, in lines 1 and 1"),
        ("a: 2024-99-99", "not YAML \\(ValueError: month must be in 1..12\\)"),
        ("a: !!int ''", "not YAML \\(IndexError"),
        ("a: " + "9" * 5000, "not YAML \\(ValueError: Exceeds the limit"),
        ("[" * 500, "not YAML \\(RecursionError"),
        (LAUGHS, "not YAML \\(its aliases stand for more than 100000 values\\)"),
        ("- 1\n- 2", "holds list"),
        ("", "holds NoneType"),
        ("dataset: {name: digits}", "train_size"),
    ],
)
def test_a_case_file_that_cannot_be_used_is_refused_in_one_line(tmp_path, content, message):
    (tmp_path / "case.yaml").write_text(content)
    with pytest.raises(InputError, match=message) as refused:
        load_spec(str(tmp_path / "case.yaml"))
    assert len(str(refused.value).splitlines()) == 1


OWN_FILE = "dataset: {train: a.parquet, test: b.parquet%s}\nmodel: {factory: 'a:b'}\n%s"
NOT_TEXT = {
    "a class no": (", classes: [no, yes]", "", 'dataset.classes.0: YAML reads no as false: write "no" in quotes'),
    "a class Off": (", classes: ['1', Off]", "", 'dataset.classes.1: YAML reads Off as false: write "Off" in quotes'),
    "a class true": (", classes: [true, 1]", "", 'dataset.classes.0: YAML reads true as a truth value: write "true"'),
    "a class that is a date": (", classes: [2024-01-31, b]", "", "YAML reads 2024-01-31 as a date: write"),
    "a class that is none": (", classes: [a, ~]", "", "dataset.classes.1: YAML reads ~ as nothing"),
    "a predicate that is left out": ("", "failures: {where: }", "failures.where: no value is given: give one"),
    "a class that is octal": (", classes: [007, 008]", "", "dataset.classes.0: YAML reads 007 as the number 7: write"),
    "a class that is a time": (", classes: [12:30, 12:45]", "", "YAML reads 12:30 as the number 750"),
    "a column yes": (", label: yes", "", 'dataset.label: YAML reads yes as true: write "yes" in quotes'),
    "a column 7": (", id: 7", "", 'dataset.id: YAML reads 7 as a number: write "7" in quotes'),
    "columns 0 and 1": (", features: [0, 1]", "", 'dataset.features.0: YAML reads 0 as a number: write "0" in quotes'),
    "a predicate": ("", "failures: {where: true}", "failures.where: YAML reads true as a truth value: write"),
    "a group's name": ("", "failures: {groups: {on: 'a = 1'}}", 'YAML reads on as true: write "on" in quotes'),
    "a group's predicate": ("", "failures: {groups: {a: off}}", "failures.groups.a: YAML reads off as false"),
    "a method": ("", "influence: {no: {}}", "YAML reads no as false"),
    "what is treated": ("", "treat: [no]", "treat.0: YAML reads no as false"),
    "a key of the case": ("", "on: 1", 'YAML reads on as true: write "on" in quotes'),
    "a name that is a number": ("", "name: 1.50", "name: YAML reads 1.50 as the number 1.5"),
    "a name with an accent": ("", "name: é", "name: 'é' begins with 'é': a name is a letter or digit"),
    "an argument that is a date": ("", "training: {function: 'a:b', arguments: {x: 2024-01-31}}", "as a date: write"),
    "a group with a space": ("", "failures: {groups: {a b: x}}", "failures.groups.a b: 'a b' has a space: a name is"),
}


@pytest.mark.parametrize(("data", "more", "message"), NOT_TEXT.values(), ids=NOT_TEXT)
def test_a_value_that_yaml_does_not_read_as_text_is_quoted_as_written(tmp_path, data, more, message):
    (tmp_path / "case.yaml").write_text(OWN_FILE % (data, more))
    with pytest.raises(InputError) as refused:
        load_spec(str(tmp_path / "case.yaml"))
    assert message in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("data", "more", "message"), [NOT_TEXT[key] for key in ("a class no", "a class that is octal")]
)
def test_a_setting_is_quoted_as_written_too(tmp_path, data, more, message):
    (tmp_path / "case.yaml").write_text(OWN_FILE % ("", more))
    spec = load_spec(str(tmp_path / "case.yaml"))
    with pytest.raises(InputError) as refused:
        with_settings(spec, [f"dataset.classes={data.partition(': ')[2]}"])
    assert message in str(refused.value)


def test_numbers_are_names_of_classes(tmp_path):
    (tmp_path / "case.yaml").write_text(OWN_FILE % (", classes: [0, 1.0, 2.5, '007', y, n]", ""))
    spec = load_spec(str(tmp_path / "case.yaml"))
    assert spec.dataset.classes == ("0", "1", "2.5", "007", "y", "n")
    assert with_settings(spec, ["dataset.classes=[1, 0]"]).dataset.classes == ("1", "0")


def test_a_list_that_contains_itself_does_not_recurse_forever(tmp_path):
    (tmp_path / "case.yaml").write_text(OWN_FILE % (", classes: &a [no, *a]", ""))
    with pytest.raises(InputError, match=r"dataset\.classes\.0: YAML reads no"):
        load_spec(str(tmp_path / "case.yaml"))


@pytest.mark.parametrize(
    ("stem", "why"),
    [
        ("my case", "has a space"),
        ("köln", "has 'ö'"),
        ("case [b]", "has a space"),
        ("case(1)", r"has '\('"),
        ("_case", "begins with '_'"),
        ("c" * 101, "has 101 characters"),
    ],
)
def test_a_file_whose_name_is_no_case_name_needs_the_key_name(tmp_path, stem, why):
    file = tmp_path / f"{stem}.yaml"
    file.write_text(OWN_FILE % ("", ""))
    with pytest.raises(InputError, match=rf"named after its file, but .* {why}: rename the file, or give the key name"):
        load_spec(str(file))
    file.write_text(OWN_FILE % ("", "name: mine"))
    assert load_spec(str(file)).name == "mine"


def test_a_missing_case_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        load_spec(str(tmp_path / "none.yaml"))


# Valid specs.


def test_a_case_is_named_after_its_file_unless_it_has_a_name(tmp_path):
    for content, name in (("", "mine"), ("name: other\n", "other")):
        (tmp_path / "mine.yaml").write_text(content + "dataset: {name: digits, train_size: 500}\n")
        assert load_spec(str(tmp_path / "mine.yaml")).name == name


def test_settings_are_nested_and_typed_as_yaml():
    spec = with_settings(DIGITS, ["corruption.rate=0.4", "seed=3", "treat=[ewc]", "influence.ewc.gamma=1e-3"])
    assert (spec.corruption.rate, spec.seed, spec.treat) == (0.4, 3, ("ewc",))
    assert spec.influence_method("ewc") == EWCInfluence(gamma=1e-3)


def test_methods_and_treatments_are_made_with_the_cases_settings():
    spec = with_settings(DIGITS, ["influence.ewc_paper.prior=0.5", "treatments.ewc_deletion.tolerance=0.1"])
    assert spec.influence_method("ewc") == EWCInfluence()
    assert spec.influence_method("ewc_paper") == EWCInfluence(
        stopping="paper", guard="none", reading="difference", prior=0.5
    )
    assert spec.influence_method("loss") == Loss()
    assert [variant.make() for variant in variants(spec, "ewc_deletion")] == [EWCDeletion(tolerance=0.1)] * 2


def test_the_presets_have_the_values_of_app_c_and_ours():
    mnist = preset("mnist-label_noise-s0")
    assert (mnist.dataset.train_size, mnist.validation_fraction, mnist.training) == (3000, 0.1, Schedule())
    assert mnist.corruption.confusion == {a: {b: 1.0} for a, b in [(1, 7), (7, 1), (6, 9), (9, 6), (3, 8), (8, 3)]}
    rates = {family: preset(f"{family}-s0").corruption.rate for family in FAMILIES}
    ours = {"mnist-label_noise-hard": 0.45, "cifar10-instance": 0.4, "cifar10-instance-mild": 0.1}
    ours |= {"banking77-instance": 0.15}
    ours |= {family: 0 for family in rates if family.endswith("imbalance")}
    assert rates == dict.fromkeys(rates, 0.3) | ours
    for family, *expected in (
        ("cifar10-instance", 10_000, "cnn_compact", 20),
        ("banking77-instance", 10_003, "mlp", 5),
    ):
        case = preset(f"{family}-s0")
        assert [case.dataset.train_size, case.model.name, case.corruption.annotators] == expected
    cifar = preset("cifar10-input_noise-s0")
    assert (cifar.dataset.train_size, cifar.model.name, cifar.causes.top) == (50000, "resnet50", 20000)
    assert cifar.corruption.classes == cifar.failures.classes == (0, 2, 3, 5)
    for family in ("mnist-input_noise", "mnist-poison"):
        case = preset(f"{family}-s0")
        assert case.corruption.classes == case.failures.classes == (1, 6, 7, 9)
        assert (case.dataset.train_size, case.causes.top) == (3000, 1000)


def test_a_key_that_is_none_does_not_change_the_digest():
    resolved = DIGITS.resolved
    assert resolved["failures"] is None
    del resolved["failures"]
    assert parse_spec(resolved).digest == DIGITS.digest
    assert with_settings(DIGITS, ["failures={classes: [1]}"]).digest != DIGITS.digest
    assert with_settings(DIGITS, ["failures={classes: [1]}"]).base_id == DIGITS.base_id


def test_the_grid_is_every_treatment_on_every_treated_methods_causes_and_its_controls():
    names = [variant.name for treatment in DIGITS.treatments for variant in variants(DIGITS, treatment)]
    assert sorted(names) == [
        "ewc-ewc_deletion",
        "ewc-finetune",
        "nothing-base",
        "nothing-finetune",
        "nothing-learn_guard",
        "nothing-reseed",
        "planted-semi_oracle",
        "random-ewc_deletion",
        "random-finetune",
    ]


def test_a_treatment_that_the_case_does_not_name_has_no_variants():
    spec = with_settings(DIGITS, ["treatments={finetune: {}}", "treat=[ewc]"])
    assert variants(spec, "base") == []
    assert variants(spec, "finetune") == [
        Variant("finetune", "causes", "ewc", {}),
        Variant("finetune", "nothing", None, {}),
    ]


def test_a_list_of_settings_gives_a_variant_for_each():
    spec = with_settings(DIGITS, ["treatments.ewc_deletion=[{}, {gamma: 0.1}]", "treat=[ewc]"])
    plain, weaker = variants(spec, "ewc_deletion")
    assert (plain.name, plain.make()) == ("ewc-ewc_deletion", EWCDeletion())
    assert weaker.make() == EWCDeletion(gamma=0.1)
    assert weaker.name.startswith("ewc-ewc_deletion-")
    assert parse_spec(spec.resolved) == spec


def test_a_list_of_one_setting_is_that_setting():
    assert case_id(with_settings(DIGITS, ["treatments.finetune=[{}]"])) == "digits-label_noise-s0"


@pytest.mark.parametrize(("settings", "message"), [("[]", "empty list"), ("[{}, {gamma: null}]", "more than once")])
def test_an_empty_or_repeated_setting_is_refused(settings, message):
    with pytest.raises(InputError, match=message):
        with_settings(DIGITS, [f"treatments.ewc_deletion={settings}"])


@pytest.mark.parametrize("treatments", ["{auto: {methods: [loss, trak]}}", "{auto: [{}, {methods: [trak]}]}"])
def test_auto_can_only_choose_among_methods_that_the_case_runs(treatments):
    with pytest.raises(InputError, match="trak"):
        with_settings(DIGITS, [f"treatments={treatments}"])


def test_without_corruption_nothing_planted_can_be_removed():
    spec = parse_spec({**OWN, "causes": {"positive": True}})
    assert variants(spec, "semi_oracle") == []
    assert [variant.name for variant in variants(spec, "base")] == ["nothing-base"]


def test_a_model_fits_the_channels_and_classes_and_depends_on_its_stream_only():
    rows = examples(torch.zeros(2, 3, 8, 8), torch.zeros(2).long())
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    one, two, other = (
        build_model(DIGITS, rows, 4, torch.device("cpu"), torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(torch.rand(1), expected)
    assert one(rows.inputs).shape == (2, 4)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(next(one.parameters()), next(other.parameters()))


def test_the_dataset_is_the_one_named(tmp_path):
    assert len(load_dataset(parse_spec(OWN), tmp_path, np.random.default_rng(0)).train) == 500
    with pytest.raises(InputError, match="MNIST is not in"):
        load_dataset(preset("mnist-label_noise-s0"), tmp_path / "nowhere", np.random.default_rng(0))
