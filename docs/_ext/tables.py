"""What the reference pages say of the code is read from the code as the site is built."""

from typing import Any

import typer
from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList

from repair_pipeline.cli.main import app as commands
from repair_pipeline.settings import FILE, Settings, variable
from repair_pipeline.storage.schemas import TABLES

command = typer.main.get_command(commands)
"""What sphinx-click documents."""


class Views(Directive):
    """Every SQL view, with a line for each of its columns."""

    def run(self) -> list[nodes.Node]:
        lines = []
        for view, schema in TABLES.items():
            lines += [f"## {view}", "", "| column | type | what it is |", "| --- | --- | --- |"]
            for field in schema:
                says = field.metadata[b"description"].decode().replace("|", r"\|")
                lines.append(f"| `{field.name}` | {field.type} | {says} |")
            lines.append("")
        found = nodes.Element()
        self.state.nested_parse(StringList(lines, "storage/schemas.py"), self.content_offset, found, match_titles=True)
        return found.children


class InstallationSettings(Directive):
    """Every setting of an installation, with its variable and its default."""

    def run(self) -> list[nodes.Node]:
        lines = [f"| key of `{FILE}` | variable | default | what it is |", "| --- | --- | --- | --- |"]
        for name, field in Settings.model_fields.items():
            default = f"`{field.default}`" if field.default else "none"
            lines.append(f"| `{name}` | `{variable(name)}` | {default} | {field.description} |")
        found = nodes.Element()
        self.state.nested_parse(StringList(lines, "settings.py"), self.content_offset, found)
        return found.children


def setup(app: Any) -> dict[str, bool]:
    """Register the directives."""
    app.add_directive("views", Views)
    app.add_directive("settings", InstallationSettings)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
