"""Which repair is judged."""

import pytest

from repair_pipeline.evaluation.selection import selected

REPAIRS = {
    "nothing": ([], None),
    "the search, wherever it stands": (["finetune", "auto"], 1),
    "the first treatment": (["newton", "finetune"], 0),
    "its chosen setting": (["newton", "newton*", "finetune*"], 1),
    "no setting is chosen yet": (["newton", "newton", "finetune"], None),
    "of several searches the first": (["auto", "auto*"], 0),
}
"""Treatments in the order of a case, a chosen setting with a star, and which is judged."""


@pytest.mark.parametrize("name", REPAIRS)
def test_one_repair_is_judged(name):
    given, judged = REPAIRS[name]
    repairs = list(enumerate(given))
    found = selected(repairs, lambda repair: repair[1].strip("*"), lambda repair: repair[1].endswith("*"))
    assert found == (None if judged is None else repairs[judged])
