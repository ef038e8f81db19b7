import re
from html.parser import HTMLParser

import pytest
import yaml

from repair_pipeline.cases.spec import parse_spec
from repair_pipeline.reporting.report import queries, render_report
from repair_pipeline.storage.views import query
from repair_pipeline_tests.reporting.made_up import CASE_ID, RECOVERY, MadeUp


class Page(HTMLParser):
    """Every tag with its attributes, the text, and the cells of each row of each table."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self.in_cell = False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self.in_cell = True

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.in_cell = False

    def handle_data(self, data):
        self.text += data
        if self.in_cell:
            self.rows[-1][-1] += data

    def all(self, *names: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name in names]

    def row(self, opening: str) -> list[str]:
        return [cell.strip() for row in self.rows if row[0].startswith(opening) for cell in row[1:]]


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    return MadeUp(tmp_path_factory.mktemp("home")).written()


@pytest.fixture(scope="module")
def page(case):
    return Page(case.html)


def test_the_recovery_table_is_that_of_the_case(page):
    assert page.row("ewc → finetune") == ["62.5", "90.0", "95.0", "93.3", "8", "1.50"]
    assert page.row("reseed") == ["62.5", "30.0", "90.0", "70.0", "0", "1.50"]
    treatments = ("the model", "fine-tuning", "EWC-deletion", "retraining")
    shown = [row[0] for row in page.rows if any(word in row[0] for word in treatments)]
    assert len(shown) == len(RECOVERY)


def test_the_detection_table_is_that_of_the_case(page):
    assert page.row("ewc")[:7] == ["8", "0.938", "0.812", "0.750", "0.750", "0.750", "0.50"]
    assert page.row("loss")[1] == "0.812"


def test_the_timings_are_those_of_the_case(page):
    assert page.row("base_model") == ["–", "12.34", "cpu", "1"]


def test_the_verdict_comes_first(case):
    assert 0 < case.html.index("6 more than the best control") < case.html.index("What failed</h2>")


def test_every_picture_is_said_in_words(page):
    pictures = page.all("img", "svg")
    assert len(pictures) == 8
    assert all(len(picture["alt"]) > 40 for picture in pictures)


def test_tables_have_captions_and_scopes(page):
    assert len(page.all("caption")) == len(page.all("table")) == 3
    assert all(head["scope"] in ("col", "row", "rowgroup") for head in page.all("th"))


def test_nothing_is_loaded_from_anywhere(case, page):
    loads = [value for _, attributes in page.tags for key in ("src", "href") if (value := attributes.get(key))]
    assert loads
    assert all(value.startswith("data:") for value in loads)
    assert not page.all("script")
    assert "url(" not in case.html
    assert "@import" not in case.html


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


def test_a_preset_is_repeated_by_name_and_another_case_by_its_file(page, tmp_path):
    changed = Page(MadeUp(tmp_path, images=False, name=f"{CASE_ID}-0123abcd").written().html)
    assert f"repair run {CASE_ID}\n" in page.text
    assert f"repair run {CASE_ID}.yaml\n" in changed.text


def test_a_class_name_is_text_whatever_it_holds(tmp_path):
    html = MadeUp(tmp_path, images=False, classes=("<script>x</script>", "a & b", "$owl$")).written().html
    assert "<script" not in html
    assert "&lt;script&gt;x&lt;/script&gt;" in html
    assert "a &amp; b" in html


def test_inputs_that_are_no_images_are_listed(tmp_path):
    page = Page(MadeUp(tmp_path, images=False).written().html)
    assert page.row("fit-000")[:4] == ["dog", "cat", "planted", "+3.05"]
    assert page.row("fit-039")[:4] == ["cat", "cat", "no", "−0.85"]
    assert len(page.all("img")) == 5


def test_where_nothing_is_planted_the_report_says_so(tmp_path):
    page = Page(MadeUp(tmp_path, planted=False, recovery=RECOVERY[:7]).written().html)
    assert "Nothing was planted in this case, so there is no detection curve" in page.text
    assert page.row("ewc")[:2] == ["8", "0.50"]
    assert ["Method", "Causes", "Seconds"] in page.rows
    assert not re.search("planted on purpose|true label", page.text)
    assert not any("true" in picture["alt"] for picture in page.all("img"))


def test_what_is_missing_is_named(page, tmp_path):
    without = MadeUp(
        tmp_path, images=False, influence=("loss",), recovery=(), missing=("influence_ewc", "ewc-finetune")
    )
    shown = Page(without.written().html)
    assert "What is missing" in shown.text
    assert "ewc-finetune" in shown.text
    assert "No repair was made." in shown.text
    assert "Influence of every training row by loss." in shown.text
    assert "What is missing" not in page.text


def test_without_any_influence_the_report_says_so(tmp_path):
    page = Page(MadeUp(tmp_path, images=False, influence=("random", "oracle")).written().html)
    assert "no row has an influence" in page.text
    assert "so no causes are known" in page.text
