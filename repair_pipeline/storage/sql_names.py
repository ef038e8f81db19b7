"""Column names in SQL. DuckDB ignores case: it treats ``Site`` and ``site`` as one name and renames the second."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence


def folded(name: str) -> str:
    """A name with its ASCII letters in lower case. SQL treats names as equal if these are equal."""
    return "".join(letter.lower() if letter.isascii() else letter for letter in name)


def quoted(name: str) -> str:
    """A name quoted for SQL."""
    return '"' + name.replace('"', '""') + '"'


def free_name(like: str, taken: Collection[str], text: str = "") -> str:
    """A name like ``like`` that is not in ``taken`` and does not occur in ``text``, an SQL expression."""
    names = {folded(name) for name in taken}
    while folded(like) in names or folded(like) in folded(text):
        like += "_"
    return like


def unique_names(names: Sequence[str], fixed: Sequence[str] = ()) -> list[str]:
    """Unique names: names that are equal to SQL get numbers, such as ``A_1`` and ``a_2``.

    All of them are renamed, so that a query for one cannot silently read another.

    Args:
        names: of one table's columns.
        fixed: names of other columns of the table, which are not changed.
    """
    occurrences = Counter(map(folded, names))
    fixed_names = {folded(name) for name in fixed}
    taken = {*fixed_names, *occurrences}
    unique, numbers = [], Counter[str]()
    for name in names:
        new_name = name
        if occurrences[folded(name)] > 1 or folded(name) in fixed_names:
            numbers[folded(name)] += 1
            new_name = free_name(f"{name}_{numbers[folded(name)]}", taken)
            taken.add(folded(new_name))
        unique.append(new_name)
    return unique
