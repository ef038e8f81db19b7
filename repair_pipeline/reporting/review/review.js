"use strict";
// The review page. `backend` is the server, or the rows inside a static page; see served.js and static.js.
// Text reaches the page as text nodes only, never as markup.

function review(about, backend) {
  const HEIGHT = 64, CHUNK = 40, POLL = 2000, KEPT = 4000;
  const byId = id => document.getElementById(id);
  const list = byId("list"), space = byId("space"), wanted = byId("wanted"), note = byId("note");
  const rows = new Map();         // by position in the sheet: what is shown of a row
  const asked = new Set();        // positions that are on their way
  const decisions = new Map();    // by position: the decision that counts
  const selected = new Set();     // positions
  const undoable = [];            // promises of the numbers of own decisions
  let items = [];                 // positions of rows; a heading is a {value, size, first}
  let current = 0, anchor = 0, number = 0, unsent = 0, polling = null, queue = Promise.resolve(), shownAt = null;

  function element(kind, properties = {}, ...children) {
    const made = document.createElement(kind);
    for (const [name, value] of Object.entries(properties)) {
      if (name === "class") made.className = value;
      else made.setAttribute(name, value);
    }
    made.append(...children.filter(child => child !== null && child !== undefined));
    return made;
  }
  const percent = share => share === null ? "unknown" : (100 * share).toFixed(share > 0.995 ? 1 : 0) + " %";
  const rounded = value => Number(value.toPrecision(4)).toString();
  const isHeading = item => typeof item === "object";
  const words = said => said.decision === "relabel" ? `relabel to ${said.label}` : said.decision;
  const patchSays = row => row.action === "keep" ? "you decide" : row.action;
  const picture = (kind, at, alt, row) => about.images
    ? element("img", {src: (row && row.image) || backend.image(kind, at), alt, loading: "lazy"}) : null;

  // The list: only the rows in view, and some around them, are in the page.

  async function load() {
    const form = new FormData(wanted);
    const answer = await backend.order(Object.fromEntries(form));
    const before = items[current];
    items = [];
    let at = 0;
    for (const [value, size] of answer.groups) {
      items.push({value, size, first: items.length + 1});
      for (const end = at + size; at < end; at++) items.push(answer.rows[at]);
    }
    if (!answer.groups.length) items = answer.rows;
    selected.clear();
    byId("found").textContent = `${answer.rows.length.toLocaleString("en")} rows`;
    space.style.height = items.length * HEIGHT + "px";
    const again = items.indexOf(before);
    go(again >= 0 ? again : items.findIndex(item => !isHeading(item)), true);
  }

  function need(from, to) {
    const missing = items.slice(from, to).filter(at => !isHeading(at) && !rows.has(at) && !asked.has(at));
    if (!missing.length) return;
    missing.forEach(at => asked.add(at));
    backend.rows(missing).then(found => {
      if (rows.size > KEPT) rows.clear();
      for (const row of found) rows.set(row.at, row);
      draw();
    }).catch(problem => alarm(`Rows cannot be read: ${problem.message}`))
      .finally(() => missing.forEach(at => asked.delete(at)));
  }

  function draw() {
    const first = Math.max(0, Math.floor(list.scrollTop / HEIGHT) - 4);
    const last = Math.min(items.length, first + Math.ceil(list.clientHeight / HEIGHT) + 9);
    need(Math.max(0, first - CHUNK / 2), last + CHUNK);
    space.replaceChildren(...items.slice(first, last).map((item, at) => drawn(item, first + at)));
    list.setAttribute("aria-activedescendant", items.length ? `item-${current}` : "");
    if (shownAt !== items[current] && rows.has(items[current])) detail();
  }

  function drawn(item, index) {
    const row = rows.get(item), said = decisions.get(item), heading = isHeading(item);
    const chosen = heading ? members(item).every(at => selected.has(at)) : selected.has(item);
    const made = element("div", {
      id: `item-${index}`, role: "option", class: "item", "aria-selected": chosen, "aria-posinset": index + 1,
      "aria-setsize": items.length, "data-index": index,
    });
    if (index === current) made.classList.add("current");
    if (heading) made.classList.add("heading");
    made.style.top = index * HEIGHT + "px";
    made.append(element("span", {class: "tick", "aria-hidden": "true"}, chosen ? "✓" : ""));
    if (heading) {
      made.append(element("div", {}, `${item.value || "(none)"}: ${item.size.toLocaleString("en")} rows`));
    } else if (!row) {
      made.append(element("div", {class: "small"}, "…"));
    } else {
      const suggested = row.suggested_label === null ? "" : ` → ${row.suggested_label}`;
      const chance = row.probability === null ? "" : `${percent(row.probability)} likely wrong · `;
      const image = picture("row", row.at, "", row);
      if (image) made.append(image);
      made.append(element("div", {},
        element("div", {class: "line"}, `${row.label}${suggested}`),
        element("div", {class: "line small"}, row.text || `${chance}rank ${row.rank} · ${row.example_id}`)));
      const by = said && said.who !== byId("who").value.trim() ? ` · ${said.who}` : "";
      made.append(said && said.decision !== "undecided"
        ? element("div", {class: `badge ${said.decision}`}, words(said) + by)
        : element("div", {class: "badge small"}, row.action ? `patch: ${patchSays(row)}` : ""));
    }
    return made;
  }

  const members = heading => items.slice(heading.first, heading.first + heading.size);

  function go(index, quiet = false) {
    if (!items.length) {
      shownAt = null;
      byId("row-title").textContent = "No row matches";
      byId("shown").replaceChildren();
      byId("decided").textContent = "";
      space.replaceChildren();
      return;
    }
    current = Math.min(Math.max(index, 0), items.length - 1);
    const top = current * HEIGHT;
    if (top < list.scrollTop) list.scrollTop = top;
    if (top + HEIGHT > list.scrollTop + list.clientHeight) list.scrollTop = top + HEIGHT - list.clientHeight;
    draw();
    if (!quiet) say("");
  }

  // The detail of the current row.

  function detail() {
    const row = rows.get(items[current]);
    if (!row) return;
    shownAt = row.at;
    const given = about.classes.indexOf(row.label), other = about.classes.indexOf(row.suggested_label);
    byId("row-title").textContent = `Row ${row.example_id}`;
    const labels = [["Given label", row.label], ["Wrong with a probability of", percent(row.probability)]];
    if (row.suggested_label !== null) {
      labels.splice(1, 0, ["Suggested label", `${row.suggested_label} (${percent(row.suggestion_probability)} likely right)`]);
    }
    labels.push(["Patch", row.action ? patchSays(row) : "does not have it"], ["Rank", `${row.rank} of ${about.rows}`]);
    const parts = [pairs("labels", labels)];
    if (about.images) {
      parts.push(element("div", {class: "pictures"},
        figure("row", row.at, "The row", "large", row),
        about.means === false ? null : figure("class", given, `Mean of class ${row.label}`, ""),
        other >= 0 && about.means !== false ? figure("class", other, `Mean of class ${row.suggested_label}`, "") : null));
    }
    if (row.text) parts.push(element("blockquote", {}, row.text));
    if (row.features.length) parts.push(element("h3", {}, "Its least usual features"), features(row));
    if (row.failures.length) {
      parts.push(element("h3", {}, row.opposes > row.failures.length
        ? `It opposes ${row.opposes} failures; the most opposed ones` : "Failures that it opposes"));
      parts.push(about.images
        ? element("div", {class: "pictures"}, ...row.failures.map(of =>
          figure("failure", of.at, `Label ${of.label}, influence ${rounded(of.influence)}`, "", of)))
        : element("div", {}, ...row.failures.map(of => element("blockquote", {},
          `${of.text || of.id} — label ${of.label}, influence ${rounded(of.influence)}`))));
    }
    if (row.repeated.length) {
      parts.push(element("h3", {}, "Test rows that nearly repeat it"),
        element("div", {}, row.repeated.map(of => `${of.id} (label ${of.label})`).join(", ")));
    }
    const own = Object.entries(row.own);
    if (own.length) parts.push(element("h3", {}, "Other columns"), pairs("own", own));
    if (row.reason) parts.push(element("h3", {}, "Why it is in the patch"), element("p", {}, row.reason));
    byId("shown").replaceChildren(...parts);
    byId("detail").scrollTop = 0;
    const said = decisions.get(row.at);
    note.value = said ? said.note || "" : "";
    decided();
  }

  function decided() {
    const said = decisions.get(items[current]), shown = byId("decided");
    shown.className = said ? said.decision : "";
    shown.textContent = said && said.decision !== "undecided" ? `Decided: ${words(said)}, by ${said.who}` : "Not decided yet";
    if (selected.size) shown.textContent += ` · ${selected.size} rows are selected: a decision is about all of them`;
  }

  const pairs = (kind, entries) => element("dl", {class: kind},
    ...entries.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, String(value)))));

  const figure = (kind, at, caption, size, row) => element("figure", {class: size},
    picture(kind, at, caption, row), element("figcaption", {}, caption));

  function features(row) {
    const head = ["Feature", "Value", `Usual for ${row.label}`, row.suggested_label === null ? null : `Median of ${row.suggested_label}`];
    const line = of => element("tr", {}, element("th", {scope: "row"}, of.name),
      element("td", {class: of.value < of.usual[0] || of.value > of.usual[2] ? "far" : ""}, rounded(of.value)),
      element("td", {}, `${rounded(of.usual[1])} (${rounded(of.usual[0])} to ${rounded(of.usual[2])})`),
      of.suggested === null ? null : element("td", {}, rounded(of.suggested)));
    return element("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": "Features"}, element("table", {},
      element("thead", {}, element("tr", {}, ...head.filter(Boolean).map(name => element("th", {scope: "col"}, name)))),
      element("tbody", {}, ...row.features.map(line))));
  }

  // Deciding. A decision is shown at once; it is sent until the server has stored it.

  const targets = () => selected.size ? [...selected] : items.length && !isHeading(items[current]) ? [items[current]] : [];

  function decide(decision, label = null) {
    const who = byId("who").value.trim(), at = targets();
    if (!who) { alarm("Give your name first."); byId("who").focus(); return; }
    if (!at.length) return;
    const said = {decision, label, note: note.value.trim()};
    send(() => backend.decide(at.map(row => ({at: row, ...said})), who), true);
    for (const row of at) decisions.set(row, {at: row, who, ...said});
    const told = at.length > 1 ? `${at.length} rows: ${words(said)}.` : `${words(said)}.`;
    if (selected.size) selected.clear();
    else step();
    draw();
    decided();
    say(told);
  }

  function step() {
    const open = at => !isHeading(at) && (!decisions.has(at) || decisions.get(at).decision === "undecided");
    const next = items.findIndex((at, index) => index > current && open(at));
    go(next >= 0 ? next : current + 1, true);
  }

  function send(call, isDecision) {
    unsent++;
    const sent = queue.then(() => stored(call));
    queue = sent.catch(() => {}).then(() => { unsent--; soon(200); });
    if (isDecision) undoable.push(sent);
    sent.catch(problem => { alarm(`Not stored: ${problem.message}`); number = 0; });
  }

  async function stored(call) {
    for (let wait = 500; ; wait = Math.min(2 * wait, 8000)) {
      try {
        const answer = await call();
        alarm("");
        return answer;
      } catch (problem) {
        if (problem.refused) throw problem;
        alarm("The server does not answer: decisions are kept here and sent again. Do not close this page.");
        await new Promise(done => setTimeout(done, wait));
      }
    }
  }

  function undo() {
    const last = undoable.pop();
    if (!last) { say("Nothing to undo."); return; }
    send(async () => {
      const {first, end} = await last;
      return backend.undo(first, end, byId("who").value.trim());
    }, false);
    say("Taken back.");
  }

  // What others decide, and how the review stands.

  const soon = wait => { clearTimeout(polling); polling = setTimeout(poll, wait); };

  async function poll() {
    try {
      const answer = await backend.changes(number);
      if (unsent === 0) {  // else what is on its way is newer
        if (number === 0) decisions.clear();
        number = answer.number;
        for (const said of answer.rows) decisions.set(said.at, said);
        draw();
        if (document.activeElement !== note) decided();
      }
      standing(answer.progress);
    } catch {
      // The server is away; decisions say so themselves.
    }
    soon(POLL);
  }

  function standing(of) {
    const bar = byId("progress"), whole = of.patch || of.rows, done = of.patch ? of.patch_decided : of.decided;
    bar.max = whole;
    bar.value = done;
    byId("counted").textContent = `${done} of ${whole} rows${of.patch ? " of the patch" : ""} decided`
      + (of.decided > done ? `, and ${of.decided - done} others` : "");
    const said = [];
    if (of.reviewed) said.push(`${of.wrong} of ${of.reviewed} were wrong (${percent(of.wrong / of.reviewed)}).`);
    if (of.expected !== null && of.next_rows) {
      said.push(`The next ${of.next_rows} rows are expected to hold ${Math.round(of.expected)} wrong ones.`);
    }
    if (of.may_stop) said.push(of.next_rows ? "You may stop: ten rows or more are read to find a wrong one." : "All rows are decided.");
    byId("outlook").textContent = said.join(" ");
  }

  const say = text => {
    const row = rows.get(items[current]);
    const where = row ? `Row ${row.example_id}, given ${row.label}`
      + (row.suggested_label === null ? "" : `, suggested ${row.suggested_label}`) : "";
    byId("status").textContent = `${text} ${where}`.trim();
  };
  const alarm = text => { if (byId("alert").textContent !== text) byId("alert").textContent = text; };

  // Keys and pointers.

  function toggle(index) {
    const item = items[index], rowsOf = isHeading(item) ? members(item) : [item];
    const all = rowsOf.every(at => selected.has(at));
    rowsOf.forEach(at => all ? selected.delete(at) : selected.add(at));
    draw();
    decided();
  }

  function selectAll() {
    items.forEach(item => isHeading(item) || selected.add(item));
    draw();
    decided();
    say(`${selected.size} rows are selected.`);
  }

  function ask() {
    if (!targets().length) return;
    byId("new-label").value = byId("no-class").textContent = "";
    byId("relabel").showModal();
  }

  byId("relabel").addEventListener("close", () => list.focus());
  byId("relabel").querySelector("form").addEventListener("submit", event => {
    if (event.submitter && !event.submitter.value) return;
    const typed = byId("new-label").value.trim().toLowerCase();
    const named = about.classes.filter(name => name.toLowerCase() === typed);
    const found = named.length ? named : about.classes.filter(name => typed && name.toLowerCase().startsWith(typed));
    if (found.length === 1) { decide("relabel", found[0]); return; }
    event.preventDefault();
    byId("no-class").textContent = found.length ? `${found.length} classes begin so: type more` : "No class begins so";
  });

  function suggested() {
    const at = targets(), labels = new Set(at.map(row => rows.has(row) ? rows.get(row).suggested_label : undefined));
    const [label] = labels;
    if (labels.size === 1 && label) decide("relabel", label);
    else alarm(labels.size > 1 ? "The selected rows have several suggestions: group by suggested_label first." : "This row has no suggestion.");
  }

  const actions = {
    keep: () => decide("keep"), drop: () => decide("drop"), unsure: () => decide("unsure"), relabel: ask, suggested, undo,
    next: () => go(current + 1), previous: () => go(current - 1), help: () => byId("help").showModal(),
    select: () => items.length && toggle(current), all: selectAll,
    none: () => { selected.clear(); draw(); decided(); },
    search: () => { byId("filters").open = true; wanted.elements.search.focus(); },
  };
  const keys = {
    k: "keep", d: "drop", s: "suggested", r: "relabel", u: "unsure", z: "undo", n: "next", p: "previous", x: "select",
    a: "all", "/": "search", "?": "help", ArrowDown: "next", ArrowUp: "previous", Escape: "none",
  };

  document.addEventListener("keydown", event => {
    const action = keys[event.key], typing = event.target.closest("input, select, textarea, dialog, summary");
    if (!action || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key.length === 1 && !byId("shortcuts").checked) return;
    event.preventDefault();
    if (event.shiftKey && action === "next" || event.shiftKey && action === "previous") {
      if (!isHeading(items[current])) selected.add(items[current]);
      actions[action]();
      if (!isHeading(items[current])) selected.add(items[current]);
      draw();
      decided();
    } else {
      actions[action]();
    }
  });
  list.addEventListener("keydown", event => {
    const page = Math.max(1, Math.floor(list.clientHeight / HEIGHT) - 1);
    const to = {Home: 0, End: items.length - 1, PageDown: current + page, PageUp: current - page}[event.key];
    if (to === undefined && event.key !== " ") return;
    event.preventDefault();
    if (event.key === " ") toggle(current);
    else go(to);
  });
  list.addEventListener("click", event => {
    const at = event.target.closest(".item");
    if (!at) return;
    const index = Number(at.dataset.index), ticked = event.target.closest(".tick");
    if (event.shiftKey) {
      const [from, to] = [Math.min(anchor, index), Math.max(anchor, index)];
      items.slice(from, to + 1).forEach(item => isHeading(item) || selected.add(item));
    } else if (ticked) {
      toggle(index);
    }
    anchor = index;
    go(index);
    decided();
  });
  byId("decide").addEventListener("click", pressed);
  document.querySelector("footer").addEventListener("click", pressed);
  function pressed(event) {
    const button = event.target.closest("[data-do]");
    if (button) actions[button.dataset.do]();
  }
  note.addEventListener("keydown", event => {
    if (event.key === "Escape") list.focus();
    if (event.key !== "Enter") return;
    const said = decisions.get(items[current]);
    list.focus();
    if (said && said.decision !== "undecided" && !selected.size) {
      const here = current;
      decide(said.decision, said.label);
      go(here);
    }
  });
  let typing = null;
  wanted.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => load().catch(problem => alarm(problem.message)), 150);
  });
  wanted.addEventListener("submit", event => { event.preventDefault(); list.focus(); });
  list.addEventListener("scroll", () => requestAnimationFrame(draw), {passive: true});
  addEventListener("resize", draw);
  addEventListener("beforeunload", event => { if (unsent) event.preventDefault(); });
  const remembered = localStorage.getItem("repair-reviewer");
  if (remembered) byId("who").value = remembered;
  byId("who").addEventListener("change", () => localStorage.setItem("repair-reviewer", byId("who").value.trim()));
  byId("filters").open = matchMedia("(min-width: 48.01rem)").matches;

  load().then(poll).then(() => list.focus()).catch(problem => alarm(problem.message));
}
