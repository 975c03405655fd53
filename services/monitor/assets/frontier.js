// The frontier, an operation at a time: what is done, under way, waiting, parked, dead, and who is next in line.

import { $, fill, h, say } from "./dom.js";
import { compact, count, OPERATIONS, user_link } from "./words.js";

const STATES = ["completed", "ongoing", "waiting", "parked", "dead"];
const LABELS = { ongoing: "Assigned", waiting: "Waiting", parked: "Parked", dead: "Dead" };
const panels = {};

function panel(of) {
  const bars = Object.fromEntries(STATES.map((state) => [state, h("i", { class: state })]));
  const figures = Object.fromEntries(Object.keys(LABELS).map((state) => [state, h("dd")]));
  const next = h("ol", { id: `next-${of.name}` });
  const more = h("button", { type: "button", hidden: true, "aria-expanded": "false", "aria-controls": `next-${of.name}` }, "all");
  const none = h("p", { class: "quiet" });
  const line = h("div", { class: "next" }, h("h3", {}, h("span", {}, "Next in line"), more), next, none);
  more.addEventListener("click", () => {
    const open = line.classList.toggle("open");
    more.setAttribute("aria-expanded", String(open));
    more.textContent = open ? "fewer" : "all";
  });
  const share = h("span", { class: "share" });
  const done = h("span");
  const records = h("small");
  const stack = h("div", { class: "stack", role: "img" }, Object.values(bars));
  const element = h(
    "article",
    { class: "card front", dataset: { op: of.name }, "aria-labelledby": `front-${of.name}` },
    h("div", { class: "front-head" }, h("span", { class: "letter", "aria-hidden": "true" }, of.letter), h("h3", { id: `front-${of.name}` }, of.title), share),
    h("p", { class: "done" }, done, records),
    stack,
    h("dl", { class: "counts" }, Object.entries(LABELS).map(([state, label]) => h("div", {}, h("dt", {}, h("i", { class: state }), label), figures[state]))),
    line,
  );
  return { element, bars, figures, next, more, none, share, done, records, stack, line, shown: "" };
}

/** Draw the panels. */
export function begin_frontier() {
  for (const of of OPERATIONS) panels[of.name] = panel(of);
  fill($("frontier-body"), OPERATIONS.map((of) => panels[of.name].element));
}

/** Update the panels. */
export function show_frontier(seen) {
  const sums = { accounts: seen.accounts, open: 0 };
  for (const of of OPERATIONS) {
    const now = seen.operations[of.name];
    const one = panels[of.name];
    const total = STATES.reduce((sum, state) => sum + now[state], 0);
    sums.open += now.waiting + now.parked + now.ongoing;
    for (const state of STATES) {
      one.bars[state].style.flexGrow = String(now[state]);
      one.bars[state].hidden = !now[state];
    }
    for (const state of Object.keys(LABELS)) say(one.figures[state], compact(now[state]));
    const share = total ? (100 * now.completed) / total : 0;
    say(one.share, total ? `${share >= 99.95 && share < 100 ? "99.9" : share.toFixed(share < 10 ? 1 : 0)} %` : "");
    say(one.done, total ? count(now.completed) : "–");
    say(one.records, total ? `done, ${compact(now.records)} ${of.brings}` : "not part of this crawl so far");
    one.stack.setAttribute("aria-label", `${count(now.completed)} done, ${count(now.ongoing)} assigned, ${count(now.waiting)} waiting, ${count(now.parked)} parked, ${count(now.dead)} dead`);
    one.element.classList.toggle("resting", !total);
    const line = JSON.stringify(now.next);
    if (line !== one.shown && !one.next.contains(document.activeElement)) {
      one.shown = line;
      fill(
        one.next,
        now.next.map(([user, tries, cursor]) =>
          h("li", {}, h("a", { class: "chip", href: user_link(user), title: [tries ? `${tries} failed tries` : "", cursor ? `from cursor ${cursor}` : ""].filter(Boolean).join(", ") || null }, user, tries ? h("small", {}, `×${tries}`) : null)),
        ),
      );
      one.more.hidden = now.next.length < 7;
    }
    say(one.none, now.next.length ? "" : total ? (now.waiting ? "not told by this master" : "nobody waits") : "nobody waits");
    one.none.hidden = now.next.length > 0;
  }
  say($("frontier-words"), `${compact(sums.open)} jobs open for ${compact(sums.accounts)} known accounts${seen.resting ? `, ${count(seen.resting)} resting after a failure` : ""}`);
}
