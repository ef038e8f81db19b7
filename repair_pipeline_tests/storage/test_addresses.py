"""Folders whose paths have special characters of URLs."""

import os

import pytest
import sqlalchemy

from repair_pipeline.errors import InputError
from repair_pipeline.storage import locks
from repair_pipeline.storage.addresses import addressable


@pytest.fixture(autouse=True)
def scratch(tmp_path_factory, monkeypatch):
    """A scratch folder for links, for each test."""
    folder = tmp_path_factory.mktemp("scratch")
    monkeypatch.setattr(locks.tempfile, "gettempdir", lambda: str(folder))
    return folder


@pytest.mark.parametrize(
    "name", ["a", "[x]", "it's", "*", "a#b", "a;b", "a&b", "a+b", "a:b", "a\\b", "a=b", "é ü", "@"]
)
def test_a_folder_without_special_characters_is_returned_unchanged(tmp_path, name):
    assert addressable(tmp_path / name) == tmp_path / name
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("name", ["a", "it's [x] * # ; & + : = é ü", "a%2Fb", "%41", "100%", "what?", "?a=b%3F", "%%"])
def test_a_database_is_created_in_its_folder_for_any_name(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    for _ in range(2):  # first without the link, then with it
        engine = sqlalchemy.create_engine(f"sqlite:///{addressable(folder) / 'x.db'}")
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text("CREATE TABLE IF NOT EXISTS t (a INT)"))
        engine.dispose()
    assert [path.name for path in folder.iterdir()] == ["x.db"]
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_link_with_a_special_character_is_refused(tmp_path, monkeypatch):
    (tmp_path / "%tmp").mkdir()
    monkeypatch.setattr(locks.tempfile, "gettempdir", lambda: str(tmp_path / "%tmp"))
    with pytest.raises(InputError, match=r"neither .*/what\? nor .*/%tmp/.* set TMPDIR"):
        addressable(tmp_path / "what?")


def test_a_scratch_folder_of_another_user_is_refused(scratch, monkeypatch, tmp_path):
    mine = os.getuid()
    monkeypatch.setattr(locks.os, "getuid", lambda: mine + 1)
    with pytest.raises(InputError, match=rf"belongs to another user \(uid {mine}\): set TMPDIR"):
        addressable(tmp_path / "what?")


def test_a_link_in_the_place_of_the_scratch_folder_is_refused(scratch, tmp_path):
    (tmp_path / "mine").mkdir()
    (scratch / f"repair_pipeline-{os.getuid()}").symlink_to(tmp_path / "mine")
    with pytest.raises(InputError, match=r"is no folder, but a link or a file: delete it"):
        addressable(tmp_path / "what?")
    assert list((tmp_path / "mine").iterdir()) == []
