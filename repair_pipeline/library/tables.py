"""Shows results as small tables in a terminal and in a notebook."""

from __future__ import annotations

from html import escape

import pandas as pd

from repair_pipeline.datasets.ids import digest


class Shown:
    """A result that is shown as a line with a table below it."""

    def shown(self) -> tuple[str, pd.DataFrame]:
        """The line and the table."""
        raise NotImplementedError

    def __repr__(self) -> str:
        line, table = self.shown()
        return f"{line}\n\n{table.to_string(index=False, na_rep='', float_format='{:.3f}'.format)}"

    def _repr_html_(self) -> str:
        line, table = self.shown()
        return f"<p>{escape(line)}</p>\n{_html(table)}"


def _html(table: pd.DataFrame) -> str:
    """The table with numbers right-aligned and text left-aligned, independent of the notebook's style."""
    text_columns = [column for column, name in enumerate(table) if not pd.api.types.is_numeric_dtype(table[name])]
    aligned = [("th, td", "text-align: right; padding: 0.1em 0.8em")]
    aligned += [(f"th.col{column}, td.col{column}", "text-align: left") for column in text_columns]
    styled = table.style.hide(axis="index").format(precision=3, na_rep="", escape="html")
    styled = styled.set_table_styles([{"selector": where, "props": style} for where, style in aligned])
    # Pandas' own id is random; with this one the same result gives the same HTML.
    return styled.set_uuid(digest(table.to_csv().encode())).to_html()
