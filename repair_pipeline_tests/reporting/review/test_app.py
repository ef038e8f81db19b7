"""The review page over HTTP: what it answers, and whom it refuses."""

import io
import json
import re

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from repair_pipeline.reporting.review.app import HERE, review_app
from repair_pipeline_tests.reporting.review.sheets import EVIL, desk


def client(home, kind="images", who="ada"):
    return TestClient(review_app(desk(home, kind=kind), who), base_url="http://127.0.0.1:4100")


@pytest.fixture
def page(tmp_path):
    return client(tmp_path)


def decide(page, *items, who="ada", **headers):
    return page.post("/decisions", json={"items": items, "who": who}, headers=headers)


def test_a_decision_is_stored_before_it_is_answered(page, tmp_path):
    assert decide(page, {"at": 0, "decision": "drop"}).json() == {"first": 0, "end": 1}
    [row] = client(tmp_path).get("/changes?since=0").json()["rows"]
    assert (row["at"], row["decision"], row["who"]) == (0, "drop", "ada")
    assert page.post("/undo", json={"first": 0, "end": 1, "who": "ada"}).json() == {"first": 1, "end": 2}
    assert page.get("/changes?since=1").json()["rows"][0]["decision"] == "undecided"


def test_rows_are_told_with_what_they_oppose_and_repeat(page):
    first, second = page.get("/rows?at=0,1").json()
    assert (first["label"], first["suggested_label"], first["action"], first["own"]) == (
        "cat",
        "dog",
        "drop",
        {"shift": "night"},
    )
    assert first["failures"] == [{"at": 1, "id": "t1", "label": "dog", "text": None, "influence": 2.5}]
    assert second["repeated"] == [{"id": "t3", "label": "owl"}]


def test_the_order_of_the_page_is_the_desks(page):
    assert page.get("/order?scope=patch&label=dog").json() == {"rows": [1, 4, 7], "groups": []}
    assert page.get("/order?group=shift&descending=true").json()["groups"] == [["day", 7], ["night", 3]]


def test_features_stand_beside_the_usual_ones_of_the_class(tmp_path):
    [row] = client(tmp_path, "features").get("/rows?at=3").json()
    cats = np.linspace(0, 1, 30, dtype=np.float32)[0::3]
    assert [of["name"] for of in row["features"]] == ["width", "height"]
    assert row["features"][0]["value"] == pytest.approx(3 / 29)
    assert row["features"][0]["usual"] == pytest.approx(np.quantile(cats, [0.25, 0.5, 0.75]))
    assert row["features"][0]["suggested"] == pytest.approx(np.median(np.linspace(0, 1, 30)[1::3]))


def test_images_of_rows_failures_and_classes_are_drawn(page):
    found = {}
    for kind, at in (("row", 29), ("failure", 1), ("class", 0)):
        answer = page.get(f"/image/made-up/{kind}/{at}")
        assert answer.headers["content-type"] == "image/png"
        found[kind] = np.asarray(Image.open(io.BytesIO(answer.content)))
    assert (found["row"] == 255).all()
    assert found["failure"].mean() == pytest.approx(255 / 29, abs=1)
    assert found["class"].mean() == pytest.approx(255 * np.linspace(0, 1, 30)[0::3].mean(), abs=1)
    assert page.get("/image/made-up/row/30").status_code == 400
    assert page.get("/image/made-up/secret/0").status_code == 400


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", ""])
def test_a_name_that_is_not_loopback_is_refused(page, host):
    for answer in (page.get("/", headers={"host": host}), page.get("/rows?at=0", headers={"host": host})):
        assert answer.status_code == 400
        assert "r00000" not in answer.text
    assert decide(page, {"at": 0, "decision": "drop"}, host=host).status_code == 400
    assert page.get("/changes?since=0").json()["number"] == 0


def test_loopback_by_any_name_is_served(page):
    for host in ("127.0.0.1:4100", "localhost:9", "[::1]:4100"):
        assert page.get("/", headers={"host": host}).status_code == 200


def test_only_the_page_itself_may_decide(page):
    item = {"at": 0, "decision": "drop"}
    assert decide(page, item, origin="http://evil.example").status_code == 403
    assert decide(page, item, origin="null").status_code == 403
    form = page.post(
        "/decisions", content=json.dumps({"items": [item], "who": "x"}), headers={"content-type": "text/plain"}
    )
    assert form.status_code == 403
    assert page.get("/changes?since=0").json()["number"] == 0
    assert decide(page, item, origin="http://127.0.0.1:4100").status_code == 200


@pytest.mark.parametrize("path", ["/", "/assets/review.js", "/rows?at=0", "/no-such-page", "/image/made-up/row/0"])
def test_every_answer_forbids_what_the_page_does_not_need(page, path):
    headers = page.get(path).headers
    assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    ["/rows?at=99", "/rows?at=x", "/changes?since=x", "/order?sort=nothing", "/rows?at=" + ",".join(["0"] * 501)],
)
def test_bad_questions_are_answered_in_words(page, path):
    answer = page.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "text/plain; charset=utf-8")
    assert ":" in answer.text


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"items": [1]}', '{"items": {}}'])
def test_bad_decisions_are_refused(page, body):
    answer = page.post("/decisions", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400


def test_nothing_comes_from_outside(page):
    texts = [page.get(path).text for path in ("/", "/assets/review.js", "/assets/served.js", "/assets/review.css")]
    assert all(texts)
    for text in texts:
        assert not re.search(r"https?://|//[a-z]+\.|@import|url\(", text)
    assert page.get("/assets/app.py").status_code == 404


def test_text_is_never_markup(tmp_path):
    page = client(tmp_path, "text", who='"><script>alert(1)</script>')
    assert "<script>alert" not in page.get("/").text
    assert page.get("/rows?at=0").json()[0]["text"].startswith(EVIL)
    for script in HERE.glob("*.js"):
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b", script.read_text())
