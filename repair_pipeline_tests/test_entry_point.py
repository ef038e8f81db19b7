"""User code referred to as ``package.module:function``."""

import sys

import pytest

from repair_pipeline.entry_point import entry_point, source_files
from repair_pipeline.errors import InputError


@pytest.mark.parametrize("writes_bytecode", [True, False])
def test_importing_user_code_leaves_no_files_in_its_folder(tmp_path, monkeypatch, writes_bytecode):
    name = f"user_model_{writes_bytecode}"
    (tmp_path / f"{name}.py").write_text("def net():\n    return 7\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", not writes_bytecode)
    monkeypatch.setattr(sys, "pycache_prefix", None)
    assert entry_point("model.factory", f"{name}:net", tmp_path)() == 7
    assert [path.name for path in tmp_path.iterdir()] == [f"{name}.py"]
    assert sys.dont_write_bytecode is not writes_bytecode


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Two projects with modules of the same names."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    projects = [tmp_path / name for name in ("A", "B")]
    for folder in projects:
        (folder / "shared_parts").mkdir(parents=True)
        (folder / "their_model.py").write_text(
            "import json\nfrom shared_parts.layers import width\nnet = lambda: width\n"
        )
        (folder / "shared_parts" / "__init__.py").write_text("")
        (folder / "shared_parts" / "layers.py").write_text(
            f"from . import sizes\nwidth = '{folder.name}', sizes.SIZE\n"
        )
        (folder / "shared_parts" / "sizes.py").write_text("SIZE = 3\n")
    return projects


def net(folder):
    return entry_point("model.factory", "their_model:net", folder)()


def test_each_folder_has_its_own_modules_though_they_have_one_name(folders):
    first, second = folders
    assert [net(folder) for folder in (first, second, first)] == [("A", 3), ("B", 3), ("A", 3)]


def test_code_that_was_changed_is_imported_anew_wherever_it_was_changed(folders):
    folder, _ = folders
    assert net(folder) == ("A", 3)
    (folder / "shared_parts" / "sizes.py").write_text("SIZE = 4\n")
    assert net(folder) == ("A", 4)


def test_the_source_of_code_is_its_module_and_those_beside_it_that_it_imports(folders):
    folder, _ = folders
    expected = {"their_model", "shared_parts", "shared_parts.layers", "shared_parts.sizes"}
    assert source_files("model.factory", "their_model:net", folder).keys() == expected
    assert set(source_files("model.factory", "json.decoder:net", folder)) == {"json.decoder"}
    assert source_files("model.factory", "nowhere.at_all:net", folder) == {}


def test_an_installed_package_that_cannot_be_imported_has_no_source(folders, tmp_path, monkeypatch):
    (tmp_path / "site" / "broken_package").mkdir(parents=True)
    (tmp_path / "site" / "broken_package" / "__init__.py").write_text("raise RuntimeError('no licence')\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert source_files("model.factory", "broken_package.models:net", folders[0]) == {}


def test_a_folder_that_lacks_a_module_is_not_given_another_folders(tmp_path):
    for name in ("with", "without"):
        (tmp_path / name).mkdir()
    (tmp_path / "with" / "of_one_folder.py").write_text("def net(): return 1\n")
    assert entry_point("model.factory", "of_one_folder:net", tmp_path / "with")() == 1
    assert source_files("model.factory", "of_one_folder:net", tmp_path / "without") == {}
    with pytest.raises(InputError, match="there is no module 'of_one_folder'"):
        entry_point("model.factory", "of_one_folder:net", tmp_path / "without")


def test_an_installed_package_stays_loaded_when_the_folder_changes(tmp_path, monkeypatch):
    package = "repair_pipeline_tests.wards"
    entry_point("model.factory", f"{package}:net", tmp_path)  # found in the current folder, which is on sys.path
    loaded = sys.modules["repair_pipeline_tests"]
    monkeypatch.chdir(tmp_path)
    entry_point("model.factory", f"{package}:net", tmp_path)
    assert sys.modules["repair_pipeline_tests"] is loaded


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (
            "raise RuntimeError('no licence')",
            r"importing 'their_code' fails \(RuntimeError: no licence\): fix the module",
        ),
        ("net = 3", "names 'their_code:net', a int: name a function or a class"),
    ],
)
def test_code_that_gives_no_function_is_refused_in_one_line(tmp_path, monkeypatch, code, says):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "their_code", raising=False)
    (tmp_path / "their_code.py").write_text(f"{code}\n")
    with pytest.raises(InputError, match=f"model.factory.*{says}"):
        entry_point("model.factory", "their_code:net", tmp_path)
