"""The review page: deciding by keyboard, nothing is lost, two people at once, and it feels instant with 10,000 rows."""

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import pytest
import uvicorn
from playwright.sync_api import Page, expect

from repair_pipeline.cli.server import HOST
from repair_pipeline.reporting.review.app import review_app
from repair_pipeline.reporting.review.static import static_page
from repair_pipeline_tests.reporting.review.sheets import EVIL, PATCHED, desk

pytestmark = pytest.mark.e2e

MANY = 10_000


@contextmanager
def serving(home: Path, count: int = 30, kind: str = "images", port: int = 0) -> Iterator[str]:
    """The address of the page over a review of a made-up sheet."""
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((HOST, port))
        listening.listen()
        config = uvicorn.Config(review_app(desk(home, count, kind), "ada"), log_level="warning", access_log=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://{HOST}:{listening.getsockname()[1]}/"
        finally:
            server.should_exit = server.force_exit = True
            thread.join()


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    with serving(tmp_path) as address:
        yield address


@pytest.fixture
def problems(page: Page) -> Iterator[list[str]]:
    """What the page complains of in the console; it must be empty at the end."""
    found: list[str] = []
    page.on("console", lambda message: found.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: found.append(str(error)))
    yield found
    assert found == []


def opened(page: Page, address: str) -> Page:
    page.goto(address)
    expect(page.get_by_role("heading", name="Row r00000")).to_be_visible()
    return page


def test_the_first_row_is_shown_with_what_it_opposes(page: Page, address: str, problems: list[str]) -> None:
    opened(page, address)
    detail = page.get_by_role("region", name="Row r00000")
    expect(detail).to_contain_text("Given label")
    expect(detail).to_contain_text("dog (80 % likely right)")
    expect(detail.get_by_role("img", name="Label dog, influence 2.5")).to_be_visible()
    assert detail.get_by_role("img", name="The row").evaluate("shown => shown.naturalWidth") == 4
    expect(page.get_by_text(f"0 of {PATCHED} rows of the patch decided")).to_be_visible()


def test_keys_decide_and_a_reload_or_a_restart_keeps_it(page: Page, tmp_path: Path) -> None:
    with serving(tmp_path) as address:
        opened(page, address)
        for key in "dks":
            page.keyboard.press(key)
        page.keyboard.press("r")
        page.keyboard.type("ow")
        page.keyboard.press("Enter")
        page.keyboard.press("u")
        expect(page.get_by_text(f"5 of {PATCHED} rows of the patch decided")).to_be_visible()
        port = int(address.split(":")[-1].strip("/"))
        opened(page, address)
        expect(page.locator(".badge.drop")).to_have_text(["drop"])
    with serving(tmp_path, port=port):
        opened(page, address)
        said = page.locator(".item .badge").all_inner_texts()
        assert said[:5] == ["drop", "keep", "relabel to cat", "relabel to owl", "unsure"]
        expect(page.get_by_text("3 of 4 were wrong (75 %).")).to_be_visible()


def test_a_decision_is_kept_while_the_server_is_away(page: Page, tmp_path: Path) -> None:
    with serving(tmp_path) as address:
        opened(page, address)
        port = int(address.split(":")[-1].strip("/"))
    page.keyboard.press("d")
    expect(page.get_by_role("alert")).to_contain_text("does not answer")
    with serving(tmp_path, port=port):
        expect(page.get_by_role("alert")).to_be_empty()
        expect(page.get_by_text(f"1 of {PATCHED} rows of the patch decided")).to_be_visible()
    assert desk(tmp_path).changes(0)["rows"][0]["decision"] == "drop"


def test_undo_and_notes(page: Page, address: str, problems: list[str]) -> None:
    opened(page, address)
    page.get_by_label("Note, kept with your decision").fill("two cats")
    page.get_by_role("button", name="Drop").click()
    expect(page.get_by_role("heading", name="Row r00001")).to_be_visible()
    page.keyboard.press("p")
    expect(page.get_by_label("Note, kept with your decision")).to_have_value("two cats")
    page.keyboard.press("z")
    expect(page.get_by_text("Not decided yet")).to_be_visible()


def test_many_are_selected_and_decided_at_once(page: Page, address: str, problems: list[str]) -> None:
    opened(page, address)
    page.get_by_label("Group by").select_option("shift")
    heading = page.get_by_role("option", name="night: 3 rows")
    heading.locator(".tick").click()
    expect(page.get_by_text("3 rows are selected")).to_be_visible()
    page.keyboard.press("d")
    expect(page.locator(".badge.drop")).to_have_count(3)
    expect(page.get_by_text(f"3 of {PATCHED} rows of the patch decided")).to_be_visible()


def test_rows_are_searched_and_filtered(page: Page, address: str, problems: list[str]) -> None:
    opened(page, address)
    page.keyboard.press("/")
    page.keyboard.type("r00007")
    expect(page.get_by_role("heading", name="Row r00007")).to_be_visible()
    expect(page.locator(".item")).to_have_count(1)


def test_two_people_see_what_the_other_decides(
    new_page: Callable[[], Page], address: str, elsewhere: list[str]
) -> None:
    ada, ben = (opened(new_page(), address) for _ in range(2))
    ben.get_by_label("Your name").fill("ben")
    ben.get_by_label("Your name").press("Tab")
    ada.keyboard.press("d")
    ben.locator("#list").focus()
    ben.keyboard.press("n")
    ben.keyboard.press("k")
    expect(ada.locator(".badge.keep")).to_have_text(["keep · ben"])
    expect(ben.locator(".badge.drop")).to_have_text(["drop · ada"])
    expect(ada.get_by_text(f"2 of {PATCHED} rows of the patch decided")).to_be_visible()
    for page in (ada, ben):
        page.context.close()
    assert elsewhere == []


@pytest.mark.parametrize("kind", ["images", "text"])
def test_it_feels_instant_with_ten_thousand_rows(
    page: Page, tmp_path: Path, kind: str, problems: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(tmp_path, MANY, kind) as address:
        begun = time.perf_counter()
        opened(page, address)
        first = time.perf_counter() - begun
        page.locator("[name=scope]").select_option("all")
        expect(page.get_by_role("heading", name=re.compile(r"10,000 rows"))).to_be_visible()
        assert page.locator(".item").count() < 40
        page.locator("#list").focus()
        took = page.evaluate(_DECIDE_100)
        expect(page.get_by_text("and 90 others")).to_be_visible()
        page.locator("#list").press("End")
        expect(page.get_by_role("heading", name="Row r09999")).to_be_visible()
    with capsys.disabled():
        print(f"\n{kind}: first row of {MANY} after {first:.2f} s, a decision in {median(took):.0f} ms (median of 100)")
    assert median(took) < 100
    assert len(desk(tmp_path, MANY, kind).changes(0)["rows"]) == 100


_DECIDE_100 = """async () => {
  const list = document.getElementById("list"), title = document.getElementById("row-title"), took = [];
  for (let turn = 0; turn < 100; turn++) {
    const before = title.textContent, begun = performance.now();
    list.dispatchEvent(new KeyboardEvent("keydown", {key: turn % 2 ? "k" : "d", bubbles: true}));
    while (title.textContent === before) await new Promise(requestAnimationFrame);
    await new Promise(requestAnimationFrame);
    took.push(performance.now() - begun);
  }
  return took;
}"""


def test_text_is_shown_and_never_run(page: Page, tmp_path: Path, problems: list[str]) -> None:
    with serving(tmp_path, kind="text") as address:
        opened(page, address)
        expect(page.locator("blockquote").first).to_have_text(f"{EVIL} number 0")
        assert page.locator("#shown img").count() == 0


def test_the_page_fits_a_telephone(page: Page, address: str, problems: list[str]) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    opened(page, address)
    beyond = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert beyond == 0
    page.get_by_role("button", name="Drop").click()
    expect(page.get_by_role("heading", name="Row r00001")).to_be_visible()


def test_the_page_as_one_file_needs_no_server(page: Page, tmp_path: Path, problems: list[str]) -> None:
    review = desk(tmp_path)
    review.decide([{"at": 1, "decision": "keep"}], "ben")
    file = tmp_path / "review.html"
    file.write_text(static_page(review, "ada").html)
    opened(page, file.as_uri())
    page.keyboard.press("d")
    page.keyboard.press("u")
    page.reload()
    expect(page.locator(".badge.drop")).to_have_text(["drop"])
    expect(page.locator(".badge.keep")).to_have_text(["keep · ben"])
    with page.expect_download() as downloaded:
        page.get_by_role("button", name="Download decisions").click()
    lines = Path(downloaded.value.path()).read_text().splitlines()
    assert lines[0] == '"example_id","decision","label","reviewer","decided_at","note"'
    assert sorted(line.split(",")[:2] for line in lines[1:]) == [
        ['"r00000"', '"drop"'],
        ['"r00001"', '"keep"'],
        ['"r00002"', '"unsure"'],
    ]
