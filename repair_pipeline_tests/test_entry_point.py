"""Somebody's own code, by its name."""

import sys

import pytest

from repair_pipeline.entry_point import entry_point


@pytest.mark.parametrize("writes_bytecode", [True, False])
def test_naming_somebodys_code_leaves_nothing_in_her_folder(tmp_path, monkeypatch, writes_bytecode):
    name = f"her_model_{writes_bytecode}"
    (tmp_path / f"{name}.py").write_text("def net():\n    return 7\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", not writes_bytecode)
    monkeypatch.setattr(sys, "pycache_prefix", None)
    assert entry_point("model.factory", f"{name}:net")() == 7
    assert [path.name for path in tmp_path.iterdir()] == [f"{name}.py"]
    assert sys.dont_write_bytecode is not writes_bytecode
