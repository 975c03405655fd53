// The top of the page: the state of the crawl in a sentence, and five animated figures.

import { $, fill, h, s, say, still } from "./dom.js";
import { compact, count, one_or_more, OPERATIONS, rate, span, stretch } from "./words.js";

const STATES = {
  running: ["is running", "good"],
  draining: ["is draining", "warn"],
  "done, staying": ["is done, and its master stays", "good"],
  standby: ["has no leader", "warn"],
  "waiting for the ledger": ["waits for its ledger", "bad"],
  resting: ["rests", ""],
  empty: ["is empty", ""],
};
const WALKS = { BFS: "breadth first", DFS: "depth first", default: "targets only" };

const UNHEARD_S = 15; // after so long a master is shown as silent
const POINTS = 90; // of a small chart

function tile(label) {
  const figure = h("span", { class: "number" });
  const unit = h("small");
  const under = h("div", { class: "under" });
  const line = h("dd", { class: "figure" }, figure, unit);
  const spark = s("svg", { class: "spark", viewBox: "0 0 100 40", preserveAspectRatio: "none", "aria-hidden": "true" });
  const area = s("path", { class: "area" });
  const stroke = s("path", { class: "stroke" });
  spark.append(area, stroke);
  const element = h("div", { class: "tile" }, h("dt", {}, label), line, h("dd", { class: "under-line" }, under), h("dd", { "aria-hidden": "true" }, spark));
  return { element, figure, unit, under, area, stroke, line };
}

const tiles = {
  accounts: tile("Accounts known"),
  records: tile("Records stored"),
  rate: tile("Pages a second"),
  jobs: tile("Jobs in hand"),
  togo: tile("Time to go"),
};

export function begin_tiles() {
  fill($("tiles"), Object.values(tiles).map((of) => of.element));
  for (const of of Object.values(tiles)) say(of.figure, "–");
}

function draw_spark(of, values) {
  const chosen = values.slice(-POINTS);
  if (chosen.length < 2) return;
  const least = Math.min(...chosen);
  const most = Math.max(...chosen);
  const reach = most - least || 1;
  const points = chosen.map((value, index) => `${((100 * index) / (chosen.length - 1)).toFixed(2)} ${(most === least ? 34 : 36 - (30 * (value - least)) / reach).toFixed(2)}`);
  of.stroke.setAttribute("d", `M${points.join("L")}`);
  of.area.setAttribute("d", `M0 40L${points.join("L")}L100 40Z`);
}

const moving = new Map();

/** Animate a figure to its next value within the second until the following one arrives. */
function walk(element, to, form) {
  const before = moving.get(element);
  const from = before ? before.now : to;
  if (before) cancelAnimationFrame(before.frame);
  const of = { now: to, frame: 0 };
  moving.set(element, of);
  if (still() || document.hidden || from === to || !before) {
    say(element, form(to));
    return;
  }
  const start = performance.now();
  const step = (time) => {
    const share = Math.min(1, (time - start) / 950);
    of.now = from + (to - from) * share;
    say(element, form(of.now));
    if (share < 1) of.frame = requestAnimationFrame(step);
  };
  of.frame = requestAnimationFrame(step);
}

function big(value) {
  return Math.abs(value) < 1e7 ? count(value) : compact(value);
}

let latest = null;
let unheard = false;

/** The age of the latest document: a silent master is not shown as running. Returns whether it just became so. */
export function show_silence(seconds) {
  const before = unheard;
  unheard = latest !== null && seconds !== null && seconds >= UNHEARD_S;
  if (before !== unheard) show_head();
  return unheard && !before;
}

function show_head() {
  const seen = latest;
  const [does, mood] = unheard ? ["is not heard", "warn"] : STATES[seen.state] || [seen.state || "is silent", ""];
  fill($("title"), seen.crawl || "The crawl", h("em", {}, ` ${does}`));
  document.title = `${seen.crawl || "twittomatic"} ${does} · twittomatic`;
  const steps = [...(seen.plan.operations || "")].map((letter) => OPERATIONS.find((of) => of.letter === letter)).filter(Boolean);
  const depth = Number(seen.plan.depth) ? `depth ${seen.plan.depth}` : "";
  const plan = [steps.map((of) => of.title.toLowerCase()).join(", then "), WALKS[seen.plan.traversing] || seen.plan.traversing, depth].filter(Boolean);
  fill(
    $("state-line"),
    h("span", { class: `pill ${mood}` }, unheard ? "not heard" : seen.state || "unknown"),
    plan.map((words) => h("span", {}, words)).flatMap((node, index) => (index ? [h("span", { "aria-hidden": "true" }, "·"), node] : [node])),
  );
  const words = seen.leads ? sentence(seen) : seen.trouble || "This master stands by; it says more once it leads.";
  say($("lead"), unheard ? `As it was last heard: ${words.charAt(0).toLowerCase()}${words.slice(1)}` : words);
}

const sum_of = (seen) => (key) => Object.values(seen.operations).reduce((total, of) => total + of[key], 0);

/** Update everything. `series(name)` returns the last minutes of a column. */
export function show_tiles(seen, series) {
  latest = seen;
  unheard = false;
  show_head();
  const sum = sum_of(seen);
  const crew = seen.crew;
  walk(tiles.accounts.figure, seen.accounts, big);
  say(tiles.accounts.under, `${count(sum("completed"))} jobs done${seen.collected ? `, ${compact(seen.collected)} collected` : ""}`);
  draw_spark(tiles.accounts, series("accounts"));
  walk(tiles.records.figure, sum("records"), big);
  say(tiles.records.under, `${rate(seen.rates.records)} a second`);
  draw_spark(tiles.records, series("records_s"));
  walk(tiles.rate.figure, seen.rates.pages, rate);
  say(tiles.rate.under, `${rate(seen.rates.jobs)} jobs end a second`);
  draw_spark(tiles.rate, series("pages_s"));
  walk(tiles.jobs.figure, crew.jobs, count);
  say(tiles.jobs.unit, crew.room ? `of ${count(crew.room + 0)}` : "");
  say(tiles.jobs.under, `${count(crew.busy)} of ${one_or_more(crew.workers, "worker is", "workers are")} busy${crew.silent ? `, ${count(crew.silent)} silent` : ""}`);
  draw_spark(tiles.jobs, series("ongoing"));
  const outlook = seen.outlook || { kind: "none", words: "" };
  tiles.togo.line.classList.toggle("text", outlook.kind !== "estimate" || !outlook.low_s);
  say(tiles.togo.figure, head_of(outlook));
  say(tiles.togo.under, under_of(outlook));
  const open = series("open");
  draw_spark(tiles.togo, open);
}

function sentence(seen) {
  const sum = sum_of(seen);
  const parts = [];
  parts.push(`${sum("ongoing") ? one_or_more(sum("ongoing"), "job is", "jobs are") : "No job is"} under way and ${one_or_more(sum("waiting"), "waits", "wait")}`);
  if (sum("parked")) parts.push(`${one_or_more(sum("parked"), "is", "are")} parked until a budget resets`);
  if (seen.resting) parts.push(`${one_or_more(seen.resting, "rests", "rest")} after a failure`);
  if (seen.dead) parts.push(`${count(seen.dead)} ${seen.dead === 1 ? "is a dead letter" : "are dead letters"}`);
  const last = parts.pop();
  return `${parts.length ? `${parts.join(", ")}, and ${last}` : last}.`;
}

function head_of(outlook) {
  if (outlook.kind === "estimate" && outlook.low_s) {
    const high = outlook.high_s;
    if (high && high > 1.25 * outlook.low_s) return stretch(outlook.low_s, high);
    return span(high || outlook.low_s);
  }
  return { done: "Done", idle: "Nothing to do", early: "Too early to tell", grows: "Still growing", stalled: "Standing still", unknown: "Cannot be told", estimate: "Over a year" }[outlook.kind] || "Nobody leads";
}

function under_of(outlook) {
  const words = outlook.words.replace(/^(cannot be told|too early to tell): /, "");
  const left = outlook.left ? `${compact(outlook.left)} steps left` : "";
  return [left, words].filter(Boolean).join(", ");
}
