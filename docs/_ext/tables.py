"""What the reference pages say of the code is read from the code as the site is built."""

from dataclasses import fields
from importlib import import_module
from typing import Any

import typer
from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList

from repair_pipeline.cli.main import app as commands
from repair_pipeline.influence.methods import METHODS
from repair_pipeline.settings import FILE, Settings, variable
from repair_pipeline.storage.schemas import TABLES
from repair_pipeline.treatment.treatments import TREATMENTS

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


class Classes(Directive):
    """Every class that ``rp.influence`` or ``rp.treatment`` exports: what it is, its names in a case, its settings."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        [which] = self.arguments
        module = import_module(f"repair_pipeline.{which}")
        entries = METHODS if which == "influence" else {name: entry.treatment for name, entry in TREATMENTS.items()}
        lines = ["| class | in a case | settings and their defaults |", "| --- | --- | --- |"]
        for exported in module.__all__:
            made = getattr(module, exported)
            names = ", ".join(f"`{name}`" for name, make in entries.items() if type(make()) is made)
            settings = ", ".join(f"`{field.name}={field.default!r}`" for field in fields(made)) or "none"
            lines.append(f"| `{exported}` | {names} | {settings} |")
        found = nodes.Element()
        self.state.nested_parse(StringList(lines, "the catalogue"), self.content_offset, found)
        return found.children


def setup(app: Any) -> dict[str, bool]:
    """Register the directives."""
    app.add_directive("views", Views)
    app.add_directive("settings", InstallationSettings)
    app.add_directive("classes", Classes)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
