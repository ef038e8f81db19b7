"""Names as SQL tells them apart: DuckDB takes ``Site`` and ``site`` for one, and would name the second as it likes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence


def folded(name: str) -> str:
    """What two names have in common that SQL takes for one: the letters of ASCII in small."""
    return "".join(letter.lower() if letter.isascii() else letter for letter in name)


def quoted(name: str) -> str:
    """A name as SQL can hold it, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def free_name(like: str, taken: Collection[str], text: str = "") -> str:
    """A name that is none of ``taken``, and that ``text`` cannot speak of."""
    names = {folded(name) for name in taken}
    while folded(like) in names or folded(like) in folded(text):
        like += "_"
    return like


def apart(names: Sequence[str], fixed: Sequence[str] = ()) -> list[str]:
    """The names, where several are one to SQL each with its number behind it: ``A_1`` and ``a_2``.

    None of those keeps its name, so that nobody gets one of them who means another.

    Args:
        names: of one table's columns.
        fixed: names of other columns of the table, which stay as they are.
    """
    alike = Counter(map(folded, names))
    others = {folded(name) for name in fixed}
    known = {*others, *alike}
    answer, counted = [], Counter[str]()
    for name in names:
        given = name
        if alike[folded(name)] > 1 or folded(name) in others:
            counted[folded(name)] += 1
            given = free_name(f"{name}_{counted[folded(name)]}", known)
            known.add(folded(given))
        answer.append(given)
    return answer
