"use strict";
// The review page as repair review serves it: rows, images and decisions come from and go to the server.
{
  const about = JSON.parse(document.getElementById("about").textContent);

  async function ask(address, sent) {
    const options = sent && {
      method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(sent),
    };
    const answer = await fetch(address, options);
    if (!answer.ok) {
      const refusal = new Error(await answer.text());
      refusal.refused = answer.status < 500;
      throw refusal;
    }
    return answer.json();
  }

  review(about, {
    order: wanted => ask("/order?" + new URLSearchParams(wanted)),
    rows: at => ask("/rows?at=" + at.join(",")),
    changes: since => ask("/changes?since=" + since),
    decide: (items, who) => ask("/decisions", {items, who}),
    undo: (first, end, who) => ask("/undo", {first, end, who}),
    image: (kind, at) => `/image/${encodeURIComponent(about.case)}/${kind}/${at}`,
  });
}
