"""Ids of cases and of their bases: which changes give a new id, and which do not."""

import json
import random
from dataclasses import replace

import pytest

from repair_pipeline.cases.families import FAMILIES, preset_names
from repair_pipeline.cases.presets import case_id, preset
from repair_pipeline.cases.resolve import load_spec, with_settings
from repair_pipeline.cases.spec import parse_spec
from repair_pipeline.pipeline.inputs import opened
from repair_pipeline.storage.layout import Layout

DIGITS = preset("digits-label_noise-s0")
OWN = {"name": "own", "dataset": {"name": "digits", "train_size": 500}}


def shuffled(tree):
    """The same mapping with its keys in another order, at every level."""
    if not isinstance(tree, dict):
        return tree
    keys = list(tree)
    random.Random(1).shuffle(keys)
    return {key: shuffled(tree[key]) for key in reversed(keys)}


@pytest.mark.parametrize("name", preset_names())
def test_a_presets_id_is_its_name(name):
    assert case_id(preset(name)) == name
    assert case_id(parse_spec(preset(name).resolved)) == name


@pytest.mark.parametrize("family", FAMILIES)
def test_a_preset_that_is_opened_keeps_its_id(family, tmp_path):
    spec = opened(preset(f"{family}-s0"), Layout(tmp_path))
    assert (case_id(spec), spec.inputs) == (f"{family}-s0", None)


def test_every_family_has_the_studies_five_seeds_and_any_other():
    assert preset_names() == [f"{family}-s{seed}" for family in FAMILIES for seed in range(5)]
    assert {preset(name).seed for name in preset_names()} == set(range(5))
    assert preset("mnist-label_noise-s123").seed == 123


@pytest.mark.parametrize(
    "setting", ["seed=1", "corruption.rate=0.31", "query_fraction=0.5", "compute.threads=2", "influence.ewc.guard=none"]
)
def test_a_setting_that_differs_from_the_preset_gives_another_id(setting):
    identity = case_id(with_settings(DIGITS, [setting]))
    name, digits = identity.rsplit("-", 1)
    assert name == "digits-label_noise-s0"
    assert len(digits) == 8
    assert int(digits, 16) >= 0
    assert identity == case_id(with_settings(DIGITS, [setting]))


def test_different_settings_give_different_ids():
    settings = ["seed=1", "seed=2", "corruption.rate=0.31", "treat=[ewc]", "causes.top=20", "validation_fraction=0.2"]
    assert len({case_id(with_settings(DIGITS, [setting])) for setting in settings}) == len(settings)


def test_a_setting_that_is_set_back_gives_the_presets_id():
    assert case_id(with_settings(with_settings(DIGITS, ["seed=5"]), ["seed=0"])) == "digits-label_noise-s0"
    assert case_id(with_settings(DIGITS, ["corruption.rate=0.30"])) == "digits-label_noise-s0"


@pytest.mark.parametrize("setting", ["influence.ewc.guard=joint", "treatments.ewc_deletion.gamma=null"])
def test_naming_a_default_keeps_the_id(setting):
    assert case_id(with_settings(DIGITS, [setting])) == "digits-label_noise-s0"


def test_the_order_of_keys_changes_nothing():
    other = parse_spec(shuffled(DIGITS.resolved))
    assert list(other.resolved["corruption"]["confusion"]) != list(DIGITS.resolved["corruption"]["confusion"])
    assert (case_id(other), other.digest, other.base_id) == (case_id(DIGITS), DIGITS.digest, DIGITS.base_id)


def test_another_name_is_followed_by_the_hash_of_the_other_fields():
    one, other = parse_spec(OWN), parse_spec({**OWN, "name": "other"})
    assert case_id(one) == f"own-{one.digest}"
    assert one.digest == other.digest
    assert one.base_id == other.base_id


def test_a_presets_name_with_other_fields_is_another_case():
    impostor = parse_spec({**OWN, "name": "digits-label_noise-s0"})
    assert case_id(impostor) == f"digits-label_noise-s0-{impostor.digest}"


DOWNSTREAM = [
    "name=other",
    "query_fraction=0.5",
    "causes.top=3",
    "treat=[ewc]",
    "influence={ewc: {}, random: {}}",
    "treatments={}",
]
UPSTREAM = [
    "seed=1",
    "dataset.train_size=900",
    "corruption.rate=0.2",
    "training.patience=6",
    "validation_fraction=0.2",
    "compute.threads=2",
]


@pytest.mark.parametrize("setting", DOWNSTREAM)
def test_cases_that_differ_downstream_of_the_failures_share_their_base(setting):
    assert with_settings(DIGITS, [setting]).base_id == DIGITS.base_id


@pytest.mark.parametrize("setting", UPSTREAM)
def test_cases_that_differ_upstream_of_the_failures_do_not(setting):
    assert with_settings(DIGITS, [setting]).base_id != DIGITS.base_id


def test_a_resolved_spec_survives_json_and_yaml(tmp_path):
    spec = with_settings(DIGITS, ["influence.ewc.guard=none", "query_fraction=0.3"])
    assert parse_spec(json.loads(json.dumps(spec.resolved))) == spec
    (tmp_path / "case.yaml").write_text(json.dumps(spec.resolved))
    assert load_spec(str(tmp_path / "case.yaml")) == replace(spec, folder=str(tmp_path))
