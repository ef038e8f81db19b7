"""The documentation is whole: entries of the catalogues are explained, and every mark is one that is known."""

import re
import subprocess

import pytest

from repair_pipeline.datasets.known import DATASETS
from repair_pipeline.influence.methods import METHODS
from repair_pipeline.likelihoods.likelihoods import LIKELIHOODS
from repair_pipeline.treatment.treatments import TREATMENTS
from repair_pipeline_tests.docs.pages import ROOT, blocks, pages


def text(name):
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_says_what_is_to_be_done_with_it(page):
    for block in blocks(page):
        assert block.content.strip(), block.place


DIFFS = [block for page in pages() for block in blocks(page) if block.language == "diff"]


@pytest.mark.parametrize("diff", DIFFS, ids=lambda block: block.place)
def test_a_change_that_a_page_shows_applies_to_the_code_as_it_is(diff):
    done = subprocess.run(
        ["git", "apply", "--check", "-"], input=diff.content, capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", [*LIKELIHOODS, *DATASETS])
def test_every_likelihood_and_data_set_is_named_among_the_keys_of_a_case(name):
    assert re.search(rf"^(likelihood|dataset): .*\b{name}\b", text("docs/cases.md"), re.MULTILINE)


@pytest.mark.parametrize("name", [*METHODS, *TREATMENTS])
def test_every_method_and_treatment_is_a_key_of_a_case_that_is_explained(name):
    assert f"`{name}`" in text("docs/cases.md")


def test_ten_questions_are_asked_in_sql():
    asked = [block for block in blocks(ROOT / "docs/how-to/sql.md") if block.content.startswith('repair query "\n')]
    assert len(asked) == 10
