// The leader, the state of the standby, and the history of the lead.

import { $, fill, h, say } from "./dom.js";
import { ago, count } from "./words.js";

let before = "";
const pair_of = h("div", { class: "pair" });
const past = h("ul", { class: "history", "aria-label": "How the lead changed hands", tabindex: "0" });

function node({ leads, title, under, pill, ghost }) {
  return h(
    "div",
    { class: `node${leads ? " leads" : ""}${ghost ? " ghost" : ""}` },
    h("span", { class: "dot mono", "aria-hidden": "true" }, ghost ? "–" : title.mark),
    h("strong", {}, title.words),
    pill ? h("span", { class: `pill ${pill[1]}` }, pill[0]) : null,
    h("span", { class: "quiet" }, under),
  );
}

/** Nothing was received for some time, so the card shows the last known state. */
export function unheard_masters() {
  say($("pair-health"), "not heard");
  $("pair-health").className = "pill warn";
}

/** Update the card. */
export function show_masters(seen) {
  const { pair, leader, epoch, role, takeovers, why } = seen.masters;
  const health = $("pair-health");
  const lost = pair && pair.silent;
  say(health, !seen.leads ? "nobody leads" : !pair ? "alone" : lost ? "no standby" : "pair is whole");
  health.className = `pill ${!seen.leads ? "bad" : !pair ? "" : lost ? "warn" : "good"}`;
  const now = JSON.stringify([seen.leads, pair, leader, epoch, role, takeovers.map((one) => [one.epoch, one.why, Math.round(one.ago_s / 10)])]);
  if (now === before) return;
  before = now;
  const nodes = [];
  if (seen.leads) {
    nodes.push(
      node({
        leads: true,
        title: { mark: pair ? String(pair.number) : "0", words: leader || (pair && pair.address) || "the master" },
        under: [pair ? pair.address : "", `epoch ${count(epoch)}`].filter(Boolean).join(" · "),
        pill: ["leads", "accent"],
      }),
    );
  } else {
    nodes.push(node({ title: { mark: "?", words: leader || "This master" }, under: why || role || "does not lead", pill: [role || "waiting", "warn"] }));
  }
  if (pair) {
    nodes.push(h("div", { class: `wire ${lost ? "cut" : "alive"}`, "aria-hidden": "true" }));
    nodes.push(
      node({
        title: { mark: String(1 - pair.number), words: pair.peer || "the other master" },
        under: lost ? "is not heard: a crash now would stop the crawl" : pair.peer_leads ? `leads in epoch ${count(pair.peer_epoch)}` : `knows ${count(pair.peer_workers)} workers, ready to take over`,
        pill: lost ? ["silent", "bad"] : ["standby", "good"],
      }),
    );
  } else if (seen.leads) {
    nodes.push(h("div", { class: "wire", "aria-hidden": "true" }));
    nodes.push(node({ ghost: true, title: { mark: "", words: "No second master" }, under: "start one with --ha 1, and a crash costs nothing" }));
  }
  const turns = [...takeovers].reverse();
  // The two elements are kept, so that keyboard users do not lose the focus in the history.
  if (!$("masters-body").contains(past)) fill($("masters-body"), pair_of, past);
  fill(pair_of, nodes);
  fill(
    past,
    turns.length
      ? turns.map((one) => h("li", {}, h("span", { class: "quiet" }, ago(one.ago_s)), h("span", {}, `epoch ${count(one.epoch)}${one.why ? `: ${one.why}` : ""}`)))
      : h("li", { class: "quiet" }, "The lead has not changed hands"),
  );
}
