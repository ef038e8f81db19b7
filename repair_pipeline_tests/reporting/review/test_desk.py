"""Which rows are listed, what decisions do to them, and what cannot be decided."""

import pytest

from repair_pipeline.errors import InputError
from repair_pipeline.reporting.review.desk import Wanted
from repair_pipeline_tests.reporting.review.sheets import PATCHED, desk


@pytest.fixture
def review(tmp_path):
    return desk(tmp_path)


def listed(review, **wanted):
    return review.listed(Wanted(**wanted))[0].tolist()


def said(review):
    return {row["at"]: (row["decision"], row["label"], row["who"]) for row in review.changes(0)["rows"]}


def test_the_rows_of_the_patch_are_listed_first_and_all_on_request(review):
    assert listed(review) == list(range(PATCHED))
    assert listed(review, scope="all") == list(range(30))


def test_rows_are_filtered_searched_and_sorted(review):
    assert listed(review, label="dog") == [1, 4, 7]
    assert listed(review, search="R00003") == [3]
    assert listed(review, search="night owl", scope="all") == [
        at for at in range(0, 30, 4) if 2 in (at % 3, (at + 1) % 3)
    ]
    assert listed(review, sort="rank", descending=True) == list(range(PATCHED))[::-1]
    assert listed(review, sort="shift") == [1, 2, 3, 5, 6, 7, 9, 0, 4, 8]
    assert listed(review, search="'; DROP TABLE sheet; --") == []


def test_groups_are_whole_and_the_largest_first(review):
    rows, groups = review.listed(Wanted(group="shift"))
    assert groups == [("day", 7), ("night", 3)]
    assert rows.tolist() == [1, 2, 3, 5, 6, 7, 9, 0, 4, 8]
    assert review.listed(Wanted(group="label", search="nothing has this"))[1] == []


@pytest.mark.parametrize("column", [{"sort": "nothing"}, {"group": "1; SELECT 1"}, {"group": "influence"}])
def test_other_columns_are_refused(review, column):
    with pytest.raises(InputError, match="choose among"):
        review.listed(Wanted(**column))


def test_decisions_are_told_filtered_by_and_counted(review):
    review.decide(
        [{"at": 0, "decision": "drop"}, {"at": 1, "decision": "relabel", "label": "cat", "note": "a cat"}], "ada"
    )
    review.decide([{"at": 2, "decision": "keep"}, {"at": 3, "decision": "unsure"}], " ben ")
    assert said(review) == {
        0: ("drop", None, "ada"),
        1: ("relabel", "cat", "ada"),
        2: ("keep", None, "ben"),
        3: ("unsure", None, "ben"),
    }
    assert listed(review, decision="relabel") == [1]
    assert listed(review, decision="undecided") == [4, 5, 6, 7, 8, 9]
    assert listed(review, decision="decided") == [0, 1, 2, 3]
    told = review.changes(2)
    assert [row["at"] for row in told["rows"]] == [2, 3]
    assert told["number"] == 4
    progress = told["progress"]
    assert (progress["reviewed"], progress["wrong"], progress["patch_decided"], progress["patch"]) == (3, 2, 4, PATCHED)


def test_relabelling_to_the_given_label_keeps_the_row(review):
    review.decide([{"at": 0, "decision": "relabel", "label": "cat"}], "ada")
    assert said(review)[0] == ("keep", None, "ada")


@pytest.mark.parametrize(
    "item",
    [
        {"at": 30, "decision": "drop"},
        {"at": -1, "decision": "drop"},
        {"at": True, "decision": "explode"},
        {"decision": "drop"},
        {"at": 0, "decision": "relabel"},
        {"at": 0, "decision": "relabel", "label": "cow"},
        {"at": 0, "decision": "drop", "label": "cat"},
    ],
)
def test_what_cannot_be_decided_stores_nothing(review, item):
    with pytest.raises(InputError):
        review.decide([{"at": 1, "decision": "drop"}, item], "ada")
    assert said(review) == {}


def test_decisions_need_a_name(review):
    with pytest.raises(InputError, match="who decides"):
        review.decide([{"at": 0, "decision": "drop"}], "  ")


def test_undo_brings_back_what_was_decided_before(review):
    review.decide([{"at": 0, "decision": "relabel", "label": "owl", "note": "why"}], "ada")
    mine = review.decide([{"at": at, "decision": "drop"} for at in range(3)], "ben")
    review.undo(**mine, who="ben")
    assert said(review) == {
        0: ("relabel", "owl", "ben"),
        1: ("undecided", None, "ben"),
        2: ("undecided", None, "ben"),
    }
    assert review.changes(0)["rows"][0]["note"] == "why"
    assert review.changes(0)["progress"]["decided"] == 1


def test_undo_leaves_what_somebody_decided_since(review):
    mine = review.decide([{"at": 0, "decision": "drop"}, {"at": 1, "decision": "drop"}], "ada")
    review.decide([{"at": 0, "decision": "keep"}], "ben")
    review.undo(**mine, who="ada")
    assert said(review) == {0: ("keep", None, "ben"), 1: ("undecided", None, "ada")}


def test_another_process_sees_and_is_seen(tmp_path):
    one, two = desk(tmp_path), desk(tmp_path)
    one.decide([{"at": 0, "decision": "drop"}], "ada")
    two.decide([{"at": 1, "decision": "keep"}], "ben")
    assert said(one) == said(two) == {0: ("drop", None, "ada"), 1: ("keep", None, "ben")}
    assert listed(one, decision="keep") == [1]


def test_what_is_expected_follows_the_decisions(review):
    before = review.changes(0)["progress"]["expected"]
    assert before == pytest.approx(15 * 0.9 + 15 * 0.05)
    review.decide([{"at": at, "decision": "keep"} for at in range(10)], "ada")
    after = review.changes(0)["progress"]
    assert after["expected"] < (before - 9) / 2
    assert after["next_rows"] == 20
