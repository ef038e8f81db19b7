"""One review in progress: which rows are wanted in which order, what was decided, and how it stands."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from repair_pipeline.errors import InputError
from repair_pipeline.evaluation.outlook import Outlook, outlook
from repair_pipeline.reporting.review.sheet import Sheet
from repair_pipeline.storage.decision_log import CHOICES, Decision, DecisionLog
from repair_pipeline.storage.records import OWN
from repair_pipeline.storage.sql_names import quoted

UNDECIDED = "undecided"
_WRONG = ("drop", "relabel")
_SORTS = ("rank", "probability", "suggestion_probability", "label", "suggested_label", "opposes", "example_id")
_GROUPS = ("label", "suggested_label", "action", "failure_group", "decision")


@dataclass(frozen=True)
class Wanted:
    """Which rows of a sheet are listed, and how."""

    scope: str = "patch"
    """patch: the rows of the patch; all: all rows that were scored."""
    search: str = ""
    """Words that the ids, labels and owner's columns of a row contain, in any case."""
    label: str = ""
    """The given label; empty for all."""
    decision: str = ""
    """What was decided, or ``undecided``, or ``decided``; empty for all."""
    sort: str = "rank"
    descending: bool = False
    group: str = ""
    """The column whose values the rows are grouped by, the largest group first; empty for none."""


@dataclass
class Desk:
    """A sheet with the decisions about its rows. Its methods may be called from several threads."""

    sheet: Sheet
    log: DecisionLog
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _outlook: Outlook | None = None

    def __post_init__(self) -> None:
        rows = self.sheet.rows
        searched = ["example_id", "label", "suggested_label", *(OWN + name for name in self.sheet.own_columns)]
        words = pc.binary_join_element_wise(
            *(rows[name].cast(pa.string()) for name in searched), "\n", null_handling="replace", null_replacement=""
        )
        # Columns get names of our own, because SQL ignores the case of the owner's.
        self._column = {name: f"c{number}" for number, name in enumerate(rows.column_names)}
        columns = rows.rename_columns(list(self._column.values()))
        columns = columns.append_column("place", pa.array(np.arange(len(rows), dtype=np.uint32)))
        columns = columns.append_column("words", pc.utf8_lower(words))
        self._rows = duckdb.connect(config={"python_enable_replacements": "false"})
        self._rows.register("given", columns)
        self._rows.execute("CREATE TABLE sheet AS SELECT * FROM given")
        self._rows.unregister("given")
        self._decision = np.full(len(rows), UNDECIDED, dtype=object)
        self._known = 0
        self._update()

    @property
    def sorts(self) -> list[str]:
        """What rows can be sorted by."""
        return [*_SORTS, *self.sheet.own_columns]

    @property
    def groups(self) -> list[str]:
        """What rows can be grouped by."""
        return [*_GROUPS, *(name for name in self.sheet.own_columns if name != self.sheet.text_column)]

    def listed(self, wanted: Wanted) -> tuple[NDArray[np.uint32], list[tuple[str, int]]]:
        """Positions of the rows that are wanted, in order, and the (value, number of rows) of each group.

        Raises:
            InputError: rows cannot be sorted or grouped by the column.
        """
        conditions, values = ["true"], list[object]()
        if wanted.scope == "patch":
            conditions.append(f"{self._column['action']} IS NOT NULL")
        for word in wanted.search.lower().split():
            conditions.append("contains(words, ?)")
            values.append(word)
        if wanted.label:
            conditions.append(f"{self._column['label']} = ?")
            values.append(wanted.label)
        if wanted.decision == "decided":
            conditions.append("decision <> 'undecided'")
        elif wanted.decision:
            conditions.append("decision = ?")
            values.append(wanted.decision)
        group = self._sql(wanted.group, self.groups, "grouped") if wanted.group else "NULL"
        sort = self._sql(wanted.sort, self.sorts, "sorted")
        direction = "DESC" if wanted.descending else "ASC"
        sql = f"""
            SELECT place, coalesce(CAST({group} AS VARCHAR), '') AS value, count(*) OVER (PARTITION BY {group}) AS size
            FROM sheet POSITIONAL JOIN decisions WHERE {" AND ".join(conditions)}
            ORDER BY size DESC, value, {sort} {direction} NULLS LAST, place
        """
        with self._lock:
            self._update()
            self._rows.register("decisions", pa.table({"decision": pa.array(self._decision, pa.string())}))
            answer = self._rows.sql(sql, params=values).to_arrow_table()
        if not wanted.group:
            return answer["place"].to_numpy(), []
        runs = pc.run_end_encode(answer["value"].combine_chunks()) if len(answer) else None
        if runs is None:
            return answer["place"].to_numpy(), []
        ends = runs.run_ends.to_pylist()
        sizes = [end - start for start, end in zip([0, *ends], ends, strict=False)]
        return answer["place"].to_numpy(), list(zip(runs.values.to_pylist(), sizes, strict=True))

    def _sql(self, name: str, allowed: Sequence[str], done: str) -> str:
        if name not in allowed:
            raise InputError(f"rows cannot be {done} by {name!r}: choose among {', '.join(allowed)}")
        if name == "decision":
            return name
        return quoted(self._column[OWN + name if name in self.sheet.own_columns else name])

    def decide(self, items: Sequence[Mapping[str, Any]], who: str) -> dict[str, int]:
        """Store decisions about rows.

        Args:
            items: of each row its position ``at``, ``decision``, and where there are such, ``label`` and ``note``.
            who: the person who decides.

        Returns:
            ``first`` and ``end``: the numbers of the decisions, for ``undo``.

        Raises:
            InputError: a decision cannot be used.
        """
        with self._lock:
            return self._add([self._checked(item) for item in items], who)

    def undo(self, first: int, end: int, who: str) -> dict[str, int]:
        """Take decisions back: what was decided before them counts again.

        A row that somebody has decided about since then is left as it is.

        Args:
            first: the number of the first decision.
            end: the number after that of the last one.
            who: the person who takes them back.

        Raises:
            InputError: nobody is named.
        """
        with self._lock:
            self._update()
            entries = self.log.entries
            since = {entry.example_id for entry in entries[end:]}
            rows = dict.fromkeys(entry.example_id for entry in entries[first:end] if entry.example_id not in since)
            before = dict[str, Decision]()
            for entry in sorted(entries[:first], key=lambda entry: entry.decided_at):
                before[entry.example_id] = entry
            none = {"decision": UNDECIDED, "label": None, "note": ""}
            return self._add(
                [
                    {
                        "example_id": row,
                        **({name: getattr(before[row], name) for name in none} if row in before else none),
                    }
                    for row in rows
                ],
                who,
            )

    def _add(self, decided: Sequence[Mapping[str, Any]], who: str) -> dict[str, int]:
        if not who.strip():
            raise InputError("nobody is named as the reviewer: say who decides")
        self._update()
        first = len(self.log.entries)
        self.log.add(decided, who.strip())
        self._update()
        return {"first": first, "end": len(self.log.entries)}

    def _at(self, item: Mapping[str, Any]) -> int:
        at = item.get("at")
        if not isinstance(at, int) or not 0 <= at < len(self.sheet):
            raise InputError(f"{at!r} is none of the {len(self.sheet)} rows: give a row's position")
        return at

    def _checked(self, item: Mapping[str, Any]) -> dict[str, Any]:
        at, decision, label = self._at(item), item.get("decision"), item.get("label")
        if decision not in CHOICES:
            raise InputError(f"the decision {decision!r} is none of {', '.join(CHOICES)}: give one of them")
        if (decision == "relabel") != (label is not None) or label not in (None, *self.sheet.data.classes):
            raise InputError(f"{decision} comes with the label {label!r}: name a class to relabel a row, and only then")
        example_id, given = (self.sheet.rows[name][at].as_py() for name in ("example_id", "label"))
        if label == given:
            decision, label = "keep", None
        return {"example_id": example_id, "decision": decision, "label": label, "note": str(item.get("note") or "")}

    def changes(self, since: int) -> dict[str, Any]:
        """What was decided after the first ``since`` decisions, by anybody, and how the review stands."""
        with self._lock:
            self._update()
            position = self.sheet.position
            changed = {entry.example_id: None for entry in self.log.entries[since:] if entry.example_id in position}
            rows = [self._shown(self.log.latest[example_id]) for example_id in changed]
            return {"number": len(self.log.entries), "rows": rows, "progress": self._progress()}

    def _shown(self, decision: Decision) -> dict[str, Any]:
        return {
            "at": self.sheet.position[decision.example_id],
            "decision": decision.decision,
            "label": decision.label,
            "who": decision.who,
            "when": decision.decided_at.isoformat(timespec="seconds"),
            "note": decision.note,
        }

    def _progress(self) -> dict[str, Any]:
        decided = self._decision != UNDECIDED
        patch = self.sheet.in_patch
        now = self.outlook()
        return {
            "patch": int(patch.sum()),
            "patch_decided": int((decided & patch).sum()),
            "decided": int(decided.sum()),
            "rows": len(self.sheet),
            "reviewed": now.reviewed,
            "wrong": now.wrong,
            "next_rows": now.next_rows,
            "expected": now.expected,
            "expected_left": now.expected_left,
            "may_stop": now.may_stop,
        }

    def outlook(self) -> Outlook:
        """What the review has found, and what the rows without a decision are expected to hold, most harmful first."""
        if self._outlook is None:
            self._outlook = self._forecast()
        return self._outlook

    def _forecast(self) -> Outlook:
        at = {self.sheet.position[name]: said.decision for name, said in self._latest() if said.decision != UNDECIDED}
        judged = {row: decision in _WRONG for row, decision in at.items() if decision != "unsure"}
        left = np.flatnonzero(self._decision == UNDECIDED)
        return outlook(self.sheet.probability, list(judged), list(judged.values()), left)

    def _latest(self) -> list[tuple[str, Decision]]:
        position = self.sheet.position
        latest = [(name, said) for name, said in self.log.latest.items() if name in position]
        return sorted(latest, key=lambda pair: pair[1].decided_at)

    def _update(self) -> None:
        self.log.read()
        for entry in self.log.entries[self._known :]:
            if (at := self.sheet.position.get(entry.example_id)) is not None:
                self._decision[at] = self.log.latest[entry.example_id].decision
        if self._known != len(self.log.entries):
            self._known, self._outlook = len(self.log.entries), None
