"""The benchmark says which ratios have become worse, and its page has all of them."""

import time

import pytest

from repair_pipeline_tests.performance import PAGE, Ratio, become_worse, quick_ratios, ratios_in, table, task

HEADING = "| what | against | ratio | from to | bar |\n| --- | --- | ---: | ---: | ---: |\n"


def rest(seconds):
    return Ratio("rest", "a rest", 1.3, lambda: time.sleep(2 * seconds), lambda: time.sleep(seconds), repeats=2)


@pytest.mark.parametrize(("said", "worse"), [("2.00", []), ("1.50", []), ("0.20", ["rest"])])
def test_only_a_ratio_that_is_much_worse_than_on_the_page_is_named(said, worse):
    lines = list(become_worse(iter([rest(0.01)]), f"{HEADING}| rest | a rest | {said} | 1 to 2 | 1.3 |\n"))
    assert [line.partition(":")[0] for line in lines] == worse


def test_a_table_can_be_compared_with_itself():
    assert list(become_worse(iter([rest(0.01)]), table(iter([rest(0.01)])))) == []


def test_a_ratio_that_the_page_lacks_is_no_pass():
    with pytest.raises(KeyError, match="rest"):
        list(become_worse(iter([rest(0.001)]), ""))


def test_the_page_has_every_quick_ratio():
    said = ratios_in(PAGE.read_text(encoding="utf-8"))
    assert {ratio.name for ratio in quick_ratios(task())} <= said.keys()
