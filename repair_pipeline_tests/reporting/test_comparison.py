"""The comparison page shows every finished case with the numbers of its tables."""

import json
from statistics import mean, stdev

import pytest

from repair_pipeline.errors import InputError
from repair_pipeline.reporting.comparison import MeanSd, render_comparison
from repair_pipeline.storage.files import write_text
from repair_pipeline.storage.layout import Layout
from repair_pipeline.storage.records import save_rows
from repair_pipeline.storage.views import query
from repair_pipeline_tests.reporting.made_up import RECOVERY, MadeUp
from repair_pipeline_tests.reporting.page import Page


def seeded(home, seed, **variant):
    return MadeUp(home, images=False, name=f"digits-label_noise-s{seed}", seed=seed, **variant).written()


def repaired(corrected, kept):
    return (RECOVERY[0], ("ewc", "finetune", 8, corrected, kept), *RECOVERY[2:])


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Three seeds of a family, one of another, and three that are not finished."""
    home = tmp_path_factory.mktemp("home")
    for seed, corrected, kept in ((0, 9, 19), (1, 7, 20), (2, 2, 15)):
        seeded(home, seed, recovery=repaired(corrected, kept))
    gated = MadeUp(home, images=False, planted=False, name="digits-label_noise-s0-0123abcd", gate={}).written()
    write_text(gated.layout.report(gated.name), gated.html)
    seeded(home, 3, status="failed")
    seeded(home, 4, status="running")
    return home


@pytest.fixture(scope="module")
def html(home):
    return render_comparison(Layout(home))


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def case_row(page, name):
    """The cells of a case in the table by family."""
    return next(row for row in page.rows if row[0] == name and len(row) == 10)[1:]


def test_the_numbers_of_a_case_are_those_of_the_tables(home, page):
    for seed in (0, 1, 2):
        case_id = f"digits-label_noise-s{seed}"
        rows = query(Layout(home), f"SELECT * FROM recovery WHERE case_id = '{case_id}'").to_pylist()
        repair = next(row for row in rows if (row["influence_method"], row["treatment"]) == ("ewc", "finetune"))
        best = max(
            row["holdout_accuracy"]
            for row in rows
            if (row["influence_method"], row["treatment"])
            in (("random", "finetune"), (None, "finetune"), (None, "reseed"))
        )
        gain, change = repair["holdout_accuracy"] - best, repair["remaining_accuracy"] - 1
        shown = case_row(page, case_id)
        assert shown[1:3] == [str(seed), "no gate"]
        assert shown[3:] == [
            "20", "0.938", f"{100 * repair['holdout_accuracy']:.1f}", f"{100 * best:.1f}",
            f"{100 * gain:+.1f}".replace("-", "−"), f"{100 * change:+.1f}".replace("-", "−"),
        ]  # fmt: skip


def test_seeds_are_aggregated_as_mean_deviation_and_number(page):
    gains, holdout = [60.0, 40.0, -10.0], [90.0, 70.0, 20.0]
    row = next(row for row in page.rows if row[0].startswith("digits-label_noise") and row[1] == "3")
    assert row[2] == "3 no gate"
    assert row[4] == f"{mean(holdout):.1f} ± {stdev(holdout):.1f} (n = 3)"
    assert row[6] == f"+{mean(gains):.1f} ± {stdev(gains):.1f} (n = 3)"


def test_one_value_has_no_deviation():
    assert MeanSd([0.5]).shown(2) == "0.50 (n = 1)"
    assert MeanSd([]).shown(2) == "–"
    assert MeanSd([-1.0, 1.0]).shown(1, "+") == "+0.0 ± 1.4 (n = 2)"


def test_cases_that_differ_in_more_than_their_seed_are_different_families(page):
    families = [row for row in page.rows if row[0].startswith("digits-label_noise") and len(row) == 8]
    assert [row[1] for row in families] == ["3", "1"]
    assert families[1][0].startswith("digits-label_noise corruption")
    assert families[1][2] == "1 accepted"


def test_the_verdict_is_that_of_the_gate(page):
    assert case_row(page, "digits-label_noise-s0-0123abcd")[2] == "accepted"
    assert case_row(page, "digits-label_noise-s0-0123abcd")[4] == "–"


def test_a_case_is_linked_to_its_report_where_it_has_one(home, page):
    links = {link["href"] for link in page.all("a")}
    assert links == {"case_id%3Ddigits-label_noise-s0-0123abcd/report.html"}
    assert (Layout(home).comparison.parent / "case_id=digits-label_noise-s0-0123abcd/report.html").is_file()


def test_every_order_has_every_case_and_the_best_come_first(page):
    cases = [row for row in page.rows if len(row) == 10 and row[0].startswith("digits")]
    assert len(cases) == 5 * 4
    by_gain = cases[4:8]
    assert [row[8] for row in by_gain] == ["+60.0", "+60.0", "+40.0", "−10.0"]
    assert cases[12:16][-1][5] == "–"  # by AUC: what is not known comes last
    assert len(page.all("input")) == 5


def test_the_alt_text_names_every_mark(page):
    (picture,) = page.all("img")
    assert "digits-label_noise-s0: gain +60.00, remaining −5.00" in picture["alt"]
    assert "digits-label_noise-s2: gain −10.00, remaining −25.00" in picture["alt"]


def test_unfinished_cases_have_a_section_of_their_own(page):
    section = page.text.split("Unfinished and failed")[1]
    for seed, status in ((3, "failed"), (4, "running")):
        name = f"digits-label_noise-s{seed}"
        assert [name, "digits", str(seed), status, f"repair run {name}"] in page.rows
        assert name in section
        assert name not in page.text.split("Unfinished and failed")[0]


def test_the_page_is_accessible_and_self_contained(page, html):
    page.require_accessible()
    page.require_self_contained(html)


def test_names_are_escaped(tmp_path):
    case = seeded(tmp_path, 0)
    (row,) = query(case.layout, "SELECT * FROM cases").to_pylist()
    spec = json.loads(row["spec"]) | {"name": "<script>x</script>-s0"}
    hostile = {**row, "dataset": "<img src=x onerror=x>", "spec": json.dumps(spec)}
    save_rows(case.layout.table("cases", case.name), "cases", [hostile], {})
    html = render_comparison(case.layout)
    Page(html).require_self_contained(html)
    assert "&lt;script&gt;x&lt;/script&gt;" in html


@pytest.mark.parametrize("status", [None, "failed"])
def test_without_a_finished_case_there_is_one_line(tmp_path, status):
    if status:
        seeded(tmp_path, 0, status=status)
    with pytest.raises(InputError, match=r"there is no finished case to compare .*repair run") as caught:
        render_comparison(Layout(tmp_path))
    assert "\n" not in str(caught.value)
