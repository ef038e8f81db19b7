"""Which of a case's repairs is judged. Nothing is selected by its result on the holdout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

R = TypeVar("R")


def selected(repairs: Sequence[R], treatment: Callable[[R], str], is_chosen: Callable[[R], bool]) -> R | None:
    """The repair that is judged: that of the search (``auto``), or else the first treatment in its chosen setting.

    Args:
        repairs: of one failure group, without the first treated method's causes or by a search, in the case's order.
        treatment: the name of a repair's treatment.
        is_chosen: whether query_tuning and guard speak for a repair's setting; asked where a treatment has several.

    Returns:
        None where there is no repair, or no setting has been chosen yet.
    """
    if not repairs:
        return None
    search = next((repair for repair in repairs if treatment(repair) == "auto"), None)
    if search is not None:
        return search
    settings = [repair for repair in repairs if treatment(repair) == treatment(repairs[0])]
    return settings[0] if len(settings) == 1 else next((repair for repair in settings if is_chosen(repair)), None)
