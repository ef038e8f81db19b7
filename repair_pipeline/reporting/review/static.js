"use strict";
// The review page as one file: rows are inside it, decisions stay in this browser until they are downloaded.
{
  const about = JSON.parse(document.getElementById("about").textContent);
  const inside = JSON.parse(document.getElementById("rows").textContent);
  const byAt = new Map(inside.rows.map(row => [row.at, row]));
  const kept = `repair-review-${about.case}`;
  const log = JSON.parse(localStorage.getItem(kept) || "[]");
  const whole = () => [...inside.said, ...log];
  const latest = () => new Map(whole().map(said => [said.at, said]));
  about.means = false;

  const value = (row, name, said) => name === "decision" ? (said.get(row.at) || {decision: "undecided"}).decision
    : name in row.own ? row.own[name] : row[name];

  function order(wanted) {
    const said = latest(), words = (wanted.search || "").toLowerCase().split(/\s+/).filter(Boolean);
    const rows = inside.rows.filter(row => {
      const text = [row.example_id, row.label, row.suggested_label, row.text, ...Object.values(row.own)].join("\n").toLowerCase();
      const decision = value(row, "decision", said);
      return words.every(word => text.includes(word)) && (!wanted.label || row.label === wanted.label)
        && (!wanted.decision || decision === wanted.decision || wanted.decision === "decided" && decision !== "undecided");
    });
    const sign = wanted.descending ? -1 : 1;
    const before = (a, b) => a === b ? 0 : a === null ? 1 : b === null ? -1 : (a < b ? -1 : 1) * sign;
    const size = new Map();
    const group = row => String(value(row, wanted.group, said) ?? "");
    if (wanted.group) rows.forEach(row => size.set(group(row), (size.get(group(row)) || 0) + 1));
    rows.sort((a, b) => (wanted.group ? size.get(group(b)) - size.get(group(a)) || before(group(a), group(b)) * sign : 0)
      || before(value(a, wanted.sort, said), value(b, wanted.sort, said)) || a.at - b.at);
    const groups = [...size].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
    return {rows: rows.map(row => row.at), groups};
  }

  function add(items, who) {
    const first = whole().length, when = new Date().toISOString();
    for (const item of items) log.push({...item, who, when});
    localStorage.setItem(kept, JSON.stringify(log));
    return {first, end: whole().length};
  }

  function undo(first, end, who) {
    const before = new Map(whole().slice(0, first).map(said => [said.at, said]));
    const rows = new Set(whole().slice(first, end).map(said => said.at));
    whole().slice(end).forEach(said => rows.delete(said.at));
    return add([...rows].map(at => {
      const {decision, label, note} = before.get(at) || {decision: "undecided", label: null, note: ""};
      return {at, decision, label, note};
    }), who);
  }

  function changes(since) {
    const said = [...latest().values()].filter(each => each.decision !== "undecided");
    const judged = said.filter(each => each.decision !== "unsure");
    const progress = {
      patch: about.patch, patch_decided: said.length, decided: said.length, rows: inside.rows.length, reviewed: judged.length,
      wrong: judged.filter(each => each.decision !== "keep").length, next_rows: inside.rows.length - said.length,
      expected: null, may_stop: said.length === inside.rows.length,
    };
    const at = new Set(whole().slice(since).map(each => each.at)), now = latest();
    return {number: whole().length, rows: [...at].map(row => now.get(row)), progress};
  }

  function download() {
    const field = text => `"${String(text ?? "").replaceAll('"', '""')}"`;
    const lines = [["example_id", "decision", "label", "reviewer", "decided_at", "note"]];
    for (const said of latest().values()) {
      if (said.decision === "undecided") continue;
      lines.push([byAt.get(said.at).example_id, said.decision, said.label, said.who, said.when, said.note]);
    }
    const file = new Blob([lines.map(line => line.map(field).join(",") + "\n").join("")], {type: "text/csv"});
    const link = document.createElement("a");
    link.href = URL.createObjectURL(file);
    link.download = `decisions-${about.case}.csv`;
    link.click();
    URL.revokeObjectURL(link.href);
  }

  document.getElementById("download").addEventListener("click", download);
  review(about, {
    order: async wanted => order(wanted),
    rows: async at => at.map(row => byAt.get(row)),
    changes: async since => changes(since),
    decide: async (items, who) => add(items, who),
    undo: async (first, end, who) => undo(first, end, who),
    image: (kind, at) => byAt.get(at).image,
  });
}
