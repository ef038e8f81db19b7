"use strict";
// Each column's heading sorts its table: numbers from the greatest, text from A. Rows stay in their group.
for (const table of document.querySelectorAll("table")) {
  const heads = [...table.tHead.rows[0].cells];
  const rowsOf = (body) => [...body.rows].filter((row) => !row.matches(".group"));
  if ([...table.tBodies].every((body) => rowsOf(body).length < 2)) continue;
  for (const [at, head] of heads.entries()) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const numbers = head.matches(".n");
      const before = head.getAttribute("aria-sort") ?? (numbers ? "ascending" : "descending");
      const up = before === "descending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      for (const body of table.tBodies) {
        const rows = rowsOf(body).map((row) => [row, row.cells[at].textContent.trim()]);
        const missing = (cell) => cell === "–";
        rows.sort(([, a], [, b]) => missing(a) - missing(b) || (up ? 1 : -1) * compare(a, b, numbers));
        body.append(...rows.map(([row]) => row));
      }
    });
  }
}

function compare(a, b, numbers) {
  return numbers ? number(a) - number(b) : a.localeCompare(b, "en", { numeric: true });
}

function number(cell) {
  return parseFloat(cell.replace("−", "-")) || 0;
}
