"""The package as users install it: a wheel, an environment of its own, an empty folder. `make wheel` runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from repair_pipeline_tests.docs.pages import ROOT, blocks
from repair_pipeline_tests.e2e.site import pages, processes_of, started
from repair_pipeline_tests.ports import free_port

SMALL = {
    "dataset.train_size": "150",
    "training.max_epochs": "2",
    "influence": "{loss: {}, random: {}}",
    "treat": "[loss]",
    "causes": "{top: 5}",
    "treatments": "{base: {}, finetune: {}}",
}
_SERVED = """{repositoriesOrError {... on RepositoryConnection {
    nodes {location {name} schedules {name scheduleState {status}}}
}}}"""


@dataclass(frozen=True)
class Installed:
    """The environment with the wheel, and the folder to work in."""

    commands: Path
    folder: Path

    @property
    def environment(self) -> Mapping[str, str]:
        """Nothing of the checkout, nor of the environment that runs the tests."""
        return {
            "PATH": f"{self.commands}{os.pathsep}{os.defpath}",
            "HOME": str(self.folder),
            "REPAIR_HOME": str(self.folder / "home"),
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "120",
        }

    def run(self, *words: str) -> str:
        """What a command of the environment prints."""
        command = [str(self.commands / words[0]), *words[1:]]
        done = subprocess.run(
            command, env=self.environment, cwd=self.folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Installed:
    """The wheel of a source archive of this checkout, with the pinned versions of what it needs."""
    built, made, folder = map(tmp_path_factory.mktemp, ("dist", "environment", "folder"))
    uv = Path(sys.executable).with_name("uv")
    for words in (
        ["build", "--out-dir", built, ROOT],
        ["venv", "--python", sys.executable, made],
    ):
        subprocess.run([uv, *words, "--quiet"], check=True)
    [wheel] = built.glob("*.whl")
    into = ["--python", made / "bin" / "python", "--constraint", ROOT / "constraints.txt"]
    subprocess.run([uv, "pip", "install", "--quiet", *into, wheel], check=True)
    return Installed(made / "bin", folder)


def test_it_is_the_wheel_that_is_imported(installed: Installed) -> None:
    code = "from pathlib import Path; import repair_pipeline as rp; print(Path(rp.__file__).parent)"
    package = Path(installed.run("python", "-c", code).strip())
    assert package.is_relative_to(installed.commands.parent)
    assert (package / "py.typed").is_file()


def test_a_case_runs_to_its_report(installed: Installed) -> None:
    said = [word for key, value in SMALL.items() for word in ("--set", f"{key}={value}")]
    printed = installed.run("repair", "run", "digits-label_noise-s0", *said)
    for line in ("tracked_run", "loss → finetune", "nothing → finetune"):
        assert line in printed
    [report] = [Path(word) for word in printed.split() if word.endswith("report.html")]
    assert report.is_relative_to(installed.folder / "home")
    assert "digits-label_noise-s0" in report.read_text(encoding="utf-8")


def test_the_module_is_the_command(installed: Installed) -> None:
    assert "digits-label_noise-s{0..4}" in installed.run("python", "-m", "repair_pipeline", "list")


def test_a_case_file_is_written(installed: Installed) -> None:
    write = "from pathlib import Path; [Path(name).write_text('a,label\\n1,0\\n2,1\\n') for name in ('t.csv', 'u.csv')]"
    installed.run("python", "-c", write)
    words = ["--train", "t.csv", "--test", "u.csv", "--factory", "mine:net", "--weights", "w.safetensors"]
    installed.run("repair", "init", "mine.yaml", *words, "--label", "label")
    assert "mine:net" in (installed.folder / "mine.yaml").read_text(encoding="utf-8")


def test_the_library_page_works(installed: Installed) -> None:
    model, program = [block for block in blocks(ROOT / "docs/library.md") if block.language == "python"][:2]
    (installed.folder / str(model.file)).write_text(model.content, encoding="utf-8")
    printed = installed.run("python", "-c", program.content)
    assert "Repair by finetune without 220 training rows" in printed
    assert "Accepted. Removing 220 training rows" in printed


def test_nights_are_switched_on_and_the_pages_show_it(installed: Installed) -> None:
    assert (
        installed.run("repair", "nightly", "on")
        == "on: nightly, new_champion, run_failed, not_accepted; they run only while repair ui is running\n"
    )
    words = [
        str(installed.commands / "repair"),
        "ui",
        *(f"--{name}-port={free_port()}" for name in ("dagster", "mlflow")),
    ]
    with started(words, installed.environment, installed.folder) as ui:
        told = dict(pages(ui))
        asked = Request(
            told["Dagster"].replace("/asset-groups", "/graphql"),
            json.dumps({"query": _SERVED}).encode(),
            {"Content-Type": "application/json"},
        )
        with urlopen(asked) as answer:
            [served] = json.load(answer)["data"]["repositoriesOrError"]["nodes"]
        with urlopen(told["MLflow"].partition("#")[0]) as answer:
            page = answer.read().decode()
    assert served["location"] == {"name": "repair_pipeline"}
    states = {schedule["name"]: schedule["scheduleState"]["status"] for schedule in served["schedules"]}
    assert states == {"nightly": "RUNNING", "nightly_clean_up": "STOPPED"}
    assert "MLflow" in page
    assert processes_of(installed.folder / "home") == []
