"""Results as small tables, in a terminal and in a notebook."""

from __future__ import annotations

from html import escape

import pandas as pd


class Shown:
    """A result that is shown as a line and a table below it."""

    def shown(self) -> tuple[str, pd.DataFrame]:
        """The line and the table."""
        raise NotImplementedError

    def __repr__(self) -> str:
        line, table = self.shown()
        return f"{line}\n\n{table.to_string(index=False, na_rep='', float_format='{:.3f}'.format)}"

    def _repr_html_(self) -> str:
        line, table = self.shown()
        return f"<p>{escape(line)}</p>\n{table.to_html(index=False, border=0, na_rep='', float_format='{:.3f}'.format)}"
