"""A change of a step's code is a decision: either its version is raised, or its results are still the same."""

import json
from importlib import import_module

from repair_pipeline_tests.code_versions import RECORD, code_digest, versions


def test_the_code_of_every_step_is_that_of_its_version():
    recorded, now = json.loads(RECORD.read_text(encoding="utf-8")), versions()
    changed = [name for name in now if now[name] != recorded.get(name)]
    assert recorded.keys() == now.keys()
    assert not changed, (
        f"the code of {', '.join(changed)} changed. Where it gives other results, raise the version of the step or the "
        "catalogue's entry. Then record it: python -m repair_pipeline_tests.code_versions"
    )


def test_comments_and_docstrings_are_no_code(tmp_path, monkeypatch):
    def code(name, body):
        (tmp_path / f"{name}.py").write_text(body)
        return code_digest(import_module(name).f)

    monkeypatch.syspath_prepend(str(tmp_path))
    plain = code("plain_code", "def f(x):\n    return 2 * x\n")
    assert code("documented_code", 'def f(x):\n    """Twice x."""\n    return 2 * x  # a comment\n') == plain
    assert code("other_code", "def f(x):\n    return 3 * x\n") != plain
