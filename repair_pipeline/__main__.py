"""``python -m repair_pipeline`` is ``repair``."""

from repair_pipeline.cli.main import app

if __name__ == "__main__":
    app(prog_name="repair")
