"""MLflow's store in a new home. Concurrent processes are tested in defs/test_partitions.py."""

from repair_pipeline.storage.layout import Layout
from repair_pipeline.tracking.runs import open_store


def test_the_store_is_created_in_a_home_of_any_name(tmp_path):
    name = "what? feature%2Flabels it's [x] * # ; & + : = é"
    layout = Layout(tmp_path / name)
    client = open_store(layout)
    location = (layout.mlflow / "artifacts").as_uri()
    run = client.create_run(client.create_experiment("one", artifact_location=location))
    client.log_text(run.info.run_id, "text", "a.txt")
    assert (layout.mlflow / "mlflow.db").is_file()
    assert [path.read_text() for path in layout.mlflow.rglob("a.txt")] == ["text"]
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["a.txt"]
