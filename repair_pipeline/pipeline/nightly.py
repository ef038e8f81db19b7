"""Templates of nightly repairs, and the cases that are made from them."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.csv

from repair_pipeline.cases.sources import Nightly, ReportedFailures, UserModel
from repair_pipeline.cases.spec import CaseSpec, parse_spec
from repair_pipeline.datasets.table_files import TABLES, is_hidden, is_table, read_table, text_of
from repair_pipeline.datasets.user_data import UserData
from repair_pipeline.errors import InputError
from repair_pipeline.evaluation.partition import FEWEST_FAILURES
from repair_pipeline.pipeline.case import stored_spec
from repair_pipeline.pipeline.inputs import opened
from repair_pipeline.storage.files import read_parquet, write_bytes, write_text
from repair_pipeline.storage.layout import Layout
from repair_pipeline.tracking.aliases import CHAMPION
from repair_pipeline.tracking.registry import Version, champion

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Template:
    """A case that is repaired on a schedule, from newly reported failures."""

    spec: CaseSpec
    folder: Path
    """Where its relative paths start from, and its modules are found."""

    @property
    def name(self) -> str:
        return self.spec.name


@dataclass(frozen=True)
class Skip:
    """The reason why no case is made tonight."""

    reason: str


# Registering.


def add_template(layout: Layout, spec: CaseSpec, folder: Path) -> None:
    """Store a template. One with the same name and folder is replaced.

    Raises:
        InputError: the case says nothing of its nights, what it watches is not there, or another folder has a template
            of its name.
    """
    template = Template(spec, folder)
    other = _read(_file(layout, spec.name)).folder if _file(layout, spec.name).is_file() else folder
    if other.is_dir() and not other.samefile(folder):
        raise InputError(
            f"there is a template {spec.name} of {other} in this home: give this one another name, or take that one "
            f"off: repair nightly remove {spec.name}"
        )
    _reported(template)
    fields = {"folder": str(folder), "spec": spec.resolved}
    write_text(_file(layout, spec.name), json.dumps(fields, indent=1))


def remove_template(layout: Layout, name: str) -> None:
    """Remove a template; its past cases are kept.

    Raises:
        InputError: there is none.
    """
    find_template(layout, name)
    _file(layout, name).unlink()


def templates(layout: Layout) -> list[Template]:
    """All of them, by name."""
    return [_read(path) for path in sorted(layout.templates.glob("*.json"))]


def find_template(layout: Layout, name: str) -> Template:
    """The template ``name``.

    Raises:
        InputError: there is none.
    """
    path = _file(layout, name)
    if not path.is_file():
        known = ", ".join(template.name for template in templates(layout))
        raise InputError(f"there is no template {name!r}, there are {known or 'none'}: repair nightly add FILE.yaml")
    return _read(path)


def _file(layout: Layout, name: str) -> Path:
    return layout.templates / f"{name}.json"


def _read(path: Path) -> Template:
    fields = json.loads(path.read_text(encoding="utf-8"))
    return Template(parse_spec(fields["spec"]), Path(fields["folder"]))


# A night.


def make_night(layout: Layout, template: Template, day: date) -> CaseSpec | Skip:
    """Tonight's case: today's champion, the data with accepted patches, and the failures since the last case.

    Failures that were reported and no night took wait for the next: too few to split, or their night failed or was
    stopped.

    Raises:
        InputError: a report cannot be read.
    """
    reported = _reported(template)
    key = template.spec.dataset.id if isinstance(template.spec.dataset, UserData) else None
    taken = list(_taken(layout, template.name))
    waiting = sorted(reported - set().union(*(ids for status, ids in taken if status not in ("failed", "stopped"))))
    if not reported - set().union(*(ids for _, ids in taken)):
        again = f"; {len(waiting)} of a night that failed wait for the next report" if waiting else ""
        return Skip(f"{template.name}: no failure is reported that no night has taken{again}")
    if len(waiting) < FEWEST_FAILURES:
        return Skip(f"{template.name}: {len(waiting)} new failures wait, {FEWEST_FAILURES} are needed")
    name = _unused(layout, f"{template.name}-{day:%Y%m%d}")
    listed = layout.nights(template.name) / f"{name}.csv"
    said = pa.BufferOutputStream()
    pa.csv.write_csv(pa.table({key or "example_id": waiting}), said)
    write_bytes(listed, said.getvalue().to_pybytes())
    return _of_champion(layout, template, name, ReportedFailures(str(listed)))


def make_base(layout: Layout, template: Template, version: Version) -> CaseSpec:
    """A case of the new champion. Its first steps run ahead: the Fisher diagonal is ready when failures come."""
    return _of_champion(layout, template, f"{template.name}-v{version.number}")


def _of_champion(layout: Layout, template: Template, name: str, failures: ReportedFailures | None = None) -> CaseSpec:
    spec = replace(
        template.spec,
        name=name,
        template=template.name,
        nightly=None,
        failures=failures,
        folder=str(template.folder),
    )
    version, model = champion(layout, template.name), spec.model
    assert isinstance(model, UserModel), "a template is refused that repairs another"
    if version is None:
        return opened(spec, layout)
    repaired = version.repaired_by
    patches = (*(stored_spec(layout, repaired).patches or ()), repaired) if repaired else ()
    weights = f"models:/{template.name}@{CHAMPION}"
    return opened(replace(spec, model=replace(model, weights=weights), patches=patches or None), layout)


def _unused(layout: Layout, name: str) -> str:
    """The name, with a number appended where a case of that name exists."""
    tried, number = name, 1
    while layout.table("cases", tried).exists():
        number += 1
        tried = f"{name}-{number}"
    return tried


# What is reported, and what was taken.


def _reported(template: Template) -> set[str]:
    """Names of the test rows that the watched folder or file reports."""
    watch, data = template.spec.nightly, template.spec.dataset
    if not isinstance(watch, Nightly):
        raise InputError(f"case {template.name} has no nightly key: write nightly: {{failures: FOLDER_OR_FILE}}")
    place = template.folder / watch.failures
    if not place.exists():
        raise InputError(f"nightly.failures is {watch.failures!r}, which is not in {template.folder}: make the folder")
    files = sorted(_reports(place)) if place.is_dir() else [place]
    names = ("example_id", *([data.id] if isinstance(data, UserData) and data.id else []))
    return {name for file in files for name in _listed(file, names)}


def _reports(folder: Path) -> Iterator[Path]:
    """The tables in a watched folder. Other files are ignored with a warning, as one may be meant as a report."""
    for file in folder.iterdir():
        if is_hidden(file) or not file.is_file():
            continue
        if is_table(file):
            yield file
        else:
            log.warning("%s is not %s, so it is not read", file, TABLES)


def _listed(file: Path, names: tuple[str, ...]) -> list[str]:
    table = read_table(file, empty=True)  # a night without failures
    column = next((name for name in names if name in table.column_names), None)
    if column is None:
        columns = ", ".join(table.column_names)
        raise InputError(f"{file} has the columns {columns}: a report names test rows by {' or '.join(names)}")
    return [name for name in text_of(file, table, column) if name]


def _taken(layout: Layout, name: str) -> Iterator[tuple[str, list[str]]]:
    """The failures of each earlier nightly case, with the status of that case."""
    for file in sorted(layout.nights(name).glob("*.csv")):
        case = layout.table("cases", file.stem)
        status = read_parquet(case)[0]["status"][0].as_py() if case.exists() else "failed"
        table = read_table(file)
        yield status, text_of(file, table, table.column_names[0])
