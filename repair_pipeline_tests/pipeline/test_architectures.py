"""Cases of models that torch differentiates in its own way, to their verdict."""

import pytest

from repair_pipeline.pipeline import gate
from repair_pipeline.pipeline.preflight import preflight
from repair_pipeline.storage.files import read_parquet, write_text
from repair_pipeline.tracking import runs
from repair_pipeline_tests.pipeline.conftest import case_at
from repair_pipeline_tests.pipeline.running import run
from repair_pipeline_tests.pipeline.test_user_case import spec
from repair_pipeline_tests.wards import write_tables


@pytest.mark.parametrize("which", ["lstm", "old_weight_norm", "packed"])
def test_a_run_ends_with_a_verdict(which, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "log_model", lambda *args: None)  # the export has tests of its own
    monkeypatch.setattr(gate, "register", lambda view, path, progress: write_text(path, "{}"))
    write_tables(tmp_path)
    model = {"factory": "repair_pipeline_tests.architectures:net", "arguments": {"which": which}}
    case = case_at(
        tmp_path / "home",
        spec(
            tmp_path,
            model=model,
            failures=None,
            training={"learning_rate": 0.02, "max_epochs": 5},
            influence={"ewc": {}, "random": {}},
            treat=["ewc"],
            treatments={"ewc_deletion": {}, "base": {}},
        ),
    )
    found = {finding.name: finding for finding in preflight(case)}
    assert ("gradients" in found) == (which == "packed")
    assert run(case).failed == {}
    verdicts = read_parquet(case.layout.table("verdicts", case.id))[0].to_pylist()
    assert [row["judge"] for row in verdicts] == ["gate"]
    pairs = read_parquet(case.layout.table("pairs", case.id))[0]
    assert len(pairs) > 0
