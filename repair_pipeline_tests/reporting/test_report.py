import re
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml

from repair_pipeline.cases.spec import parse_spec
from repair_pipeline.reporting import report
from repair_pipeline.reporting.picture import BLUE, GREY, INK
from repair_pipeline.reporting.report import queries, render_report
from repair_pipeline.storage.records import save_rows
from repair_pipeline.storage.views import query
from repair_pipeline_tests.reporting.made_up import CASE_ID, PATCHED, RECOVERY, MadeUp
from repair_pipeline_tests.reporting.page import Page

CSS = Path(report.__file__).with_name("report.css")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Writes a variant of the made-up case, once for all tests that only read it."""
    cases = {}

    def write(**variant):
        key = repr(variant)
        if key not in cases:
            cases[key] = MadeUp(tmp_path_factory.mktemp("home"), **variant).written()
        return cases[key]

    return write


@pytest.fixture(scope="module")
def case(written):
    return written()


@pytest.fixture(scope="module")
def page(case):
    return Page(case.html)


def test_the_recovery_table_is_that_of_the_case(page):
    assert page.row("ewc → finetune") == ["2", "62.5", "90.0", "95.0", "93.3", "8", "1.50"]
    assert page.row("reseed") == ["7", "62.5", "30.0", "90.0", "70.0", "0", "1.50"]
    numbers = [row[1] for row in page.rows if len(row) == 8 and row[-1] == "1.50"]
    assert numbers == [str(at) for at in range(1, len(RECOVERY) + 1)]


def test_the_detection_table_is_that_of_the_case(page):
    assert page.row("ewc")[:7] == ["8", "0.938", "0.812", "0.750", "0.750", "0.750", "0.50"]
    assert page.row("loss")[1] == "0.812"


def test_the_timings_are_those_of_the_case(page):
    assert page.row("base_model") == ["–", "12.34", "cpu", "1"]


def test_the_verdict_comes_first(case):
    assert 0 < case.html.index("6 more than the best control") < case.html.index("What failed</h2>")


def test_every_picture_has_alt_text(page):
    pictures = page.all("img", "svg")
    assert len(pictures) == 8
    assert all(len(picture["alt"]) > 40 for picture in pictures)


@pytest.mark.parametrize("variant", [{}, {"planted": False, "gate": {}}, {"images": False}])
def test_the_pages_are_accessible(written, variant):
    Page(written(**variant).html).require_accessible()


def test_the_accessibility_check_finds_what_is_missing(case):
    for lost in (' alt="', ' aria-details="', "<caption>", "<main>", "<h3>"):
        html = case.html.replace(lost, ' data-x="' if "=" in lost else "<h5>" if "h3" in lost else "", 1)
        with pytest.raises(AssertionError):
            Page(html).require_accessible()


def test_a_chart_s_table_has_its_numbers(page):
    assert page.row("cat")[:2] == ["6", "20"] or page.row("cat")[:2] == ["7", "20"]
    assert ["Rows inspected", "Perfect order", "ewc", "loss", "Random, on average"] in page.rows
    assert page.row("12") == ["8", "6", "6", "2"]
    assert page.row("40") == ["8", "8", "8", "8"]


def test_the_page_loads_nothing(case, page):
    page.require_self_contained(case.html)
    assert all(link["href"].startswith("#") for link in page.all("a"))


def test_the_sections_come_in_the_order_of_the_navigation(written):
    page = Page(written(planted=False, gate={}).html)
    order = ["verdict", "failed", "causes", "evidence", "repaired", "tests", "patch", "opposing", "again"]
    assert [head["id"] for head in page.all("h2")] == order
    assert [link["href"] for link in page.all("a") if link["href"].startswith("#")] == [f"#{name}" for name in order]


@pytest.mark.parametrize("verdict", ["accepted", "rejected", "not_proven", "not_a_data_problem"])
def test_the_gate_s_verdict_and_reason_come_first(tmp_path, verdict):
    case = MadeUp(tmp_path, gate={}, verdict=verdict).written()
    (stored,) = query(case.layout, "SELECT verdict, reason FROM verdicts WHERE judge = 'gate'").to_pylist()
    page = Page(case.html)
    head = page.text.split("What failed")[0]
    words = stored["verdict"].replace("_", " ").capitalize()
    assert page.headings[1] == (2, words)
    assert head.index(words) < head.index(stored["reason"]) < head.index("+26.67 points")
    assert ("does not recommend it" in page.text) == (verdict != "accepted")


def test_the_gate_s_numbers_are_shown_with_their_bounds(tmp_path):
    text = " ".join(Page(MadeUp(tmp_path, gate={"bound": 0.03}).written().html).text.split())
    assert "Accuracy on unseen rows+26.67 points 95% interval +12.50 to +37.50, must lie above 0" in text
    assert "beyond random removal+70.00 points 95% interval +40.00 to +90.00, must lie above 0" in text
    assert "Accuracy on remaining rows−5.00 points at worst −24.87 points, must stay above −3.00 points" in text
    assert "Classes with too few remaining rows to judge: cat." in text


def test_the_page_says_when_the_gate_has_not_judged(tmp_path):
    case = MadeUp(tmp_path, gate={}, verdict="repaired").written()
    save_rows(case.layout.table("verdicts", case.name), "verdicts", [], {})
    page = Page(case.html)
    assert page.headings[1] == (2, "The repair corrects 9 of 10 held-out failures, 6 more than the best control.")
    assert "The gate has not judged" in page.text


def test_the_patch_shows_its_first_rows_and_counts_the_others(written):
    page = Page(written(gate={}).html)
    assert f"The repair leaves out {PATCHED} training rows: 6 to relabel, 6 to drop." in page.text
    assert "The first 10 rows of the patch; 2 more are in patch.csv." in page.text
    assert ["fit-000", "relabel", "dog → cat", "+3.05", "rank 1 of 40 by influence"] in page.rows
    assert ["fit-001", "drop", "dog", "+2.95", "rank 2 of 40 by influence"] in page.rows
    assert not any(row[:2] == ["fit-010", "relabel"] for row in page.rows)
    assert f"../../patches/case_id={CASE_ID}/patch.csv" in [unquote(link["href"]) for link in page.all("a")]
    assert "repair patch apply" not in page.text  # the digits are not a file of the user


def test_the_test_rows_that_are_weak_evidence_are_counted_and_listed(written):
    page = Page(written(gate={}).html)
    text = " ".join(page.text.split())
    assert "2 test rows nearly repeat a training row (1 of them in holdout and remaining)." in text
    assert "The labels of 1 failures are doubtful (1 of them in the holdout)" in text
    listed = [row for row in page.rows if row[1:2] in (["guard"], ["holdout"])]
    assert ["test-010", "holdout", "dog", "cat", "0.969"] in listed
    assert [row for row in listed if len(row) == 4] == [
        ["test-009", "holdout", "fit-003", "0.125"],
        ["test-020", "guard", "fit-003", "0.250"],
    ]


def test_held_out_near_duplicates_are_not_pictured(written):
    assert written(gate={}).html.count("test image labelled") == 1


def test_causes_carry_the_repaired_model_s_suggestion(written):
    page = Page(written(planted=False, gate={}).html)
    assert ["fit-000", "cat", "cat", "+3.05"] in page.rows
    assert ["fit-001", "dog", "–", "+2.95"] in page.rows
    (most,) = [image["alt"] for image in page.all("img") if image["alt"].startswith("The 16 most harmful")]
    assert "given cat, the repaired model suggests cat, influence +3.05" in most


def test_the_contact_sheet_is_shown_with_its_alt_text_and_its_pairs(written):
    page = Page(written(gate={}).html)
    (sheet,) = [image for image in page.all("img") if image["src"].startswith("data:image/png")]
    assert sheet["alt"] == "Failure 1, labelled cat, predicted <dog>: given owl."
    pairs = [row for row in page.rows if row[0].startswith("test-") and len(row) == 5 and row[2].startswith("fit-")]
    assert len(pairs) == 6 * 5
    assert pairs[0] == ["test-000", "cat", "fit-000", "dog", "+10.50"]


def test_the_patch_says_where_fewer_rows_than_usual_were_paired(written):
    said = "Which failures a row opposes was computed for the 7 most harmful rows only: more would have cost"
    assert said in Page(written(gate={}, fewer_paired={"all": 7}).html).text
    assert "most harmful rows only" not in Page(written(gate={}).html).text


def test_the_page_is_about_the_failure_group_of_its_partition(tmp_path):
    """The spec is stored with sorted keys, so that its first group need not be the case's."""
    case = MadeUp(tmp_path, group="later").written()
    assert case.evidence.group == "later"
    assert len(case.evidence.recovery) == len(RECOVERY)


def test_text_colours_have_enough_contrast():
    light, dark = (dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", rule)) for rule in CSS.read_text().split("}")[:2])
    assert light.keys() == dark.keys()
    for colours in (light, dark):
        for ink in ("ink", "soft", "accent"):
            for paper in ("paper", "tint"):
                assert contrast(colours[ink], colours[paper]) >= 4.5
    assert contrast(dark["paper"], "#000000") < 2 < contrast(light["paper"], "#000000")
    for ink in (INK, GREY, BLUE):
        assert contrast(ink, "#ffffff") >= 4.5
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)  # WCAG's own example
    assert contrast("#777777", "#ffffff") < 4.5


def contrast(ink: str, paper: str) -> float:
    """WCAG 2.2's contrast ratio."""

    def luminance(colour: str) -> float:
        shares = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
        return sum(weight * share for weight, share in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    dark, light = sorted(map(luminance, (ink, paper)))
    return (light + 0.05) / (dark + 0.05)


def test_the_same_tables_give_the_same_bytes(case):
    assert render_report(case.layout, CASE_ID, case.data, case.partition) == case.html


def test_the_spec_shown_is_the_spec(case, page):
    shown = page.text.split("The resolved spec")[1].split("Data fingerprint")[0]
    assert parse_spec(yaml.safe_load(shown)) == parse_spec(dict(case.evidence.spec))


def test_the_queries_shown_can_be_run(case, page):
    answers = [query(case.layout, sql).to_pylist() for sql in queries(case.evidence).values()]
    assert [len(answer) for answer in answers] == [20, len(RECOVERY), len(RECOVERY)]
    assert answers[0][0]["corrupted"]
    assert all(f'repair query "{sql}"' in page.text for sql in queries(case.evidence).values())


def test_a_preset_is_reproduced_by_name_and_another_case_by_its_file(page, tmp_path):
    changed = Page(MadeUp(tmp_path, images=False, name=f"{CASE_ID}-0123abcd").written().html)
    assert f"repair run {CASE_ID}\n" in page.text
    assert f"repair run {CASE_ID}.yaml\n" in changed.text


def test_class_names_are_escaped(tmp_path):
    html = MadeUp(tmp_path, images=False, classes=("<script>x</script>", "a & b", "$owl$")).written().html
    assert html.count("<script") == 1  # our own, at the end
    assert "&lt;script&gt;x&lt;/script&gt;" in html
    assert "a &amp; b" in html


def test_patch_cells_are_escaped(tmp_path):
    hostile = ("<img src=//x onerror=x>", "</td><script>x</script>")
    html = MadeUp(tmp_path, images=False, gate={}, labels=hostile).written().html
    assert html.count("<script") == 1  # our own, at the end
    assert "<img src=//" not in html
    Page(html).require_self_contained(html)
    assert any(row[2:3] == [" → ".join(hostile)] for row in Page(html).rows)


def test_inputs_that_are_no_images_are_listed(written):
    page = Page(written(images=False).html)
    assert page.row("fit-000")[:4] == ["dog", "cat", "planted", "+3.05"]
    assert page.row("fit-039")[:4] == ["cat", "cat", "no", "−0.85"]
    assert ["test-000", "cat"] in page.rows
    assert len(page.all("img")) == 5


def test_the_report_says_when_nothing_is_planted(tmp_path):
    page = Page(MadeUp(tmp_path, planted=False, recovery=RECOVERY[:7]).written().html)
    assert "Nothing was planted in this case, so there is no detection curve" in page.text
    assert page.row("ewc")[:2] == ["8", "0.50"]
    assert ["Method", "Causes", "Seconds"] in page.rows
    assert not re.search("planted on purpose|true label", page.text)
    assert not any("true" in picture["alt"] for picture in page.all("img"))


def test_missing_results_are_named(page, tmp_path):
    without = MadeUp(
        tmp_path, images=False, influence=("loss",), recovery=(), missing=("influence_ewc", "ewc-finetune")
    )
    shown = Page(without.written().html)
    assert "What is missing" in shown.text
    assert "ewc-finetune" in shown.text
    assert "No repair was made." in shown.text
    assert "Influence of every training row by loss." in shown.text
    assert "What is missing" not in page.text


def test_the_report_says_when_there_is_no_influence(tmp_path):
    page = Page(MadeUp(tmp_path, images=False, influence=("random", "oracle")).written().html)
    assert "no training row has an influence" in page.text
    assert "so no causes are known" in page.text
