// The page of the crawl: it receives the stream and passes the events to the parts of the page.

import { $, fill, h, say } from "./dom.js";
import { bar, show_age } from "./bar.js";
import { Chart } from "./chart.js";
import { Dead, show_failures } from "./dead.js";
import { begin_frontier, show_frontier } from "./frontier.js";
import { Log } from "./log.js";
import { show_masters, unheard_masters } from "./masters.js";
import { ask, on_session, open_form, recall, signed_in } from "./session.js";
import { Stream } from "./stream.js";
import { begin_tiles, show_silence, show_tiles } from "./tiles.js";
import { budget_row, Workers } from "./workers.js";
import { bytes, compact, count, OPERATIONS, when } from "./words.js";

begin_tiles();
begin_frontier();
const workers = new Workers();
workers.set([]);
const log = new Log();
const dead = new Dead();
const chart = new Chart();
let failures = { count: 0, latest: [] };
let about = {};
show_failures(failures);
show_budgets([]);
show_nothing();

await bar("/", true);
try {
  about = await ask("/api/about");
  chart.graphite = about.graphite;
} catch {
  about = {}; // the bar shows that the monitor cannot be reached, and the stream retries
}

let form_shown = false;
const stream = new Stream(
  {
    hello: ({ anew, again, scrollback }) => {
      if (anew) log.clear(scrollback);
      if (anew && again) {
        recall(); // a restarted monitor has no sessions
        dead.renew();
      }
      chart.load();
    },
    refused: async () => {
      // Beyond its own machine a monitor shows nothing without signing in; the form is shown once.
      if (about.open_to_all !== false || form_shown || !(await recall()) || signed_in()) return;
      form_shown = true;
      open_form();
    },
    overview: (seen) => {
      const all = Object.values(seen.operations);
      const sum = (key) => all.reduce((total, of) => total + of[key], 0);
      if (seen.leads) {
        const point = { at: seen.at, accounts: seen.accounts, dead: seen.dead, workers: seen.crew.workers, busy: seen.crew.busy };
        for (const name of ["pages", "records", "jobs"]) point[`${name}_s`] = seen.rates[name];
        for (const key of ["records", "waiting", "parked", "ongoing", "completed"]) point[key] = sum(key);
        for (const { name } of OPERATIONS) {
          const of = seen.operations[name];
          point[`completed_${name}`] = of.completed;
          point[`open_${name}`] = of.waiting + of.parked + of.ongoing;
        }
        chart.add(point);
      }
      show_tiles(seen, (name) => chart.series(name));
      show_masters(seen);
      show_frontier(seen);
      show_budgets(seen.budgets);
      dead.count(seen.dead);
      show_foot(seen);
      const notice = $("notice");
      notice.hidden = !seen.trouble;
      notice.classList.add("bad");
      say(notice, seen.trouble);
    },
    workers: (rows) => workers.set(rows),
    lines: (lines) => log.add(lines),
    failures: (heard) => {
      failures = heard;
      show_failures(failures);
      dead.hear(failures.latest);
    },
  },
  (age) => {
    show_age(age);
    if (show_silence(age.seconds)) unheard_masters();
  },
);
on_session((signed) => {
  if (signed) form_shown = false;
  if (signed && !stream.open) stream.reconnect();
});
setInterval(() => failures.latest.length && show_failures(failures), 10_000);

function show_nothing() {
  say($("lead"), "Nothing has been heard yet. As soon as a master runs where this monitor listens, the crawl appears here by itself.");
  fill($("state-line"), h("span", { class: "pill" }, "waiting"));
  fill($("masters-body"), h("p", { class: "empty" }, h("strong", {}, "No master has spoken yet"), "Start one with tmatic-crawl or tmatic-master."));
  fill($("course-plot"), h("p", { class: "empty" }, h("strong", {}, "Nothing to draw yet"), "The first points come with the master's first words."));
  show_frontier({ accounts: 0, resting: 0, operations: Object.fromEntries(OPERATIONS.map(({ name }) => [name, { waiting: 0, parked: 0, ongoing: 0, completed: 0, dead: 0, records: 0, next: [] }])) });
  say($("frontier-words"), "");
}

function show_budgets(budgets) {
  const sorted = [...budgets].sort((a, b) => left(a) - left(b));
  say($("budgets-count"), budgets.length ? count(budgets.length) : "");
  fill(
    $("budgets"),
    sorted.length
      ? sorted.slice(0, 100).map(budget_row)
      : h("p", { class: "empty" }, h("strong", {}, "No budgets yet"), "What the service allows is known with its first answers."),
  );
}

function left([, available, limit]) {
  return limit > 0 && available !== null ? available / limit : 2;
}

function show_foot(seen) {
  const parts = [];
  const item = (label, value) => parts.push(h("span", {}, `${label} `, h("strong", {}, value)));
  if (seen.log) item("Event log", `${compact(seen.log.head)} events${seen.log.bytes ? `, ${bytes(seen.log.bytes)} kept` : ""}`);
  for (const one of seen.consumers) item(one.name, one.lag ? `${compact(one.lag)} behind` : "up to date");
  for (const [name, value] of Object.entries(seen.counted)) if (value) item(name, count(value));
  if (about.started_at) item("Monitor since", when(about.started_at));
  fill($("foot"), parts);
}
