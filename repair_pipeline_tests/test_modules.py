"""What holds of every module of the checkout."""

from repair_pipeline_tests.docs.pages import ROOT

LONGEST = 400
"""Lines that a module may have: beyond them it is split."""


def test_no_module_is_too_long():
    lengths = {
        file.relative_to(ROOT).as_posix(): len(file.read_text(encoding="utf-8").splitlines())
        for part in ("repair_pipeline", "repair_pipeline_tests")
        for file in (ROOT / part).rglob("*.py")
    }
    assert len(lengths) > 300
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST} == {}
