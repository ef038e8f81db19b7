"""Paths of stored files."""

from pathlib import Path

from repair_pipeline.storage.layout import Layout, data_dir


def test_tables_are_hive_partitioned_by_case():
    layout = Layout(Path("/home"))
    assert layout.table("recovery", "a-s0") == Path("/home/results/recovery/case_id=a-s0/recovery.parquet")
    assert layout.influence("a-s0", "ewc") == Path("/home/results/influence/case_id=a-s0/method=ewc/influence.parquet")
    assert layout.base("abc", "dataset.parquet") == Path("/home/results/bases/base_id=abc/dataset.parquet")


def test_files_of_different_cases_have_different_paths():
    layout = Layout(Path("/home"))
    files = [
        path
        for case in ("a", "b")
        for path in (
            layout.table("examples", case),
            layout.table("recovery", case),
            layout.influence(case, "ewc"),
            layout.influence(case, "loss"),
            layout.model(case, "ewc-finetune"),
            layout.model(case, "random-finetune"),
            layout.report(case),
            layout.tracked_run(case),
        )
    ]
    assert len(set(files)) == len(files)


def test_home_and_data_dir_follow_the_settings(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REPAIR_HOME", raising=False)
    monkeypatch.delenv("REPAIR_DATA_DIR", raising=False)
    assert (Layout.current().home, data_dir()) == (tmp_path / "data", tmp_path / "data")
    monkeypatch.setenv("REPAIR_HOME", "mine")
    monkeypatch.setenv("REPAIR_DATA_DIR", "/theirs")
    assert (Layout.current().home, data_dir()) == (tmp_path / "mine", Path("/theirs"))
