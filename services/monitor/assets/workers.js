// The workers: each as a cell of one picture, and as a row of a table that can be searched and sorted.

import { $, choice, fill, h, icon, kept_colour, say } from "./dom.js";
import { on_theme } from "./bar.js";
import { TableRows } from "./rows.js";
import { ago, count, of_letter, one_or_more, rate, span, user_link } from "./words.js";

const [NAME, ADDRESS, ROOM, DONE, RATE, SILENT, JOBS, BUDGETS] = [0, 1, 2, 3, 4, 5, 6, 7];
const SILENT_S = 3;
const hands_shown = () => (innerWidth > 720 ? 2 : 1);

export const state_of = (worker) => (worker[SILENT] > SILENT_S ? "silent" : worker[JOBS].length ? "busy" : "idle");

/** The scarcest budget of a worker: [share left or null, row]. */
function scarcest(worker) {
  let found = [null, null];
  for (const row of worker[BUDGETS]) {
    const share = row[2] > 0 && row[1] !== null ? row[1] / row[2] : null;
    if (share !== null && (found[0] === null || share < found[0])) found = [share, row];
  }
  return found;
}

const COLUMNS = [
  { key: "name", label: "Worker", width: "16%", of: (worker) => worker[NAME] },
  { key: "address", label: "Address", width: "14%", wide: true, of: (worker) => worker[ADDRESS] },
  { key: "jobs", label: "Jobs in hand", width: "", of: (worker) => worker[JOBS].length },
  { key: "budget", label: "Budget", width: "15%", wide: true, of: (worker) => scarcest(worker)[0] ?? 2 },
  { key: "rate", label: "Rate", width: "8%", right: true, wide: true, of: (worker) => worker[RATE] ?? -1 },
  { key: "done", label: "Done", width: "8%", right: true, wide: true, of: (worker) => worker[DONE] },
  { key: "silent", label: "Heard", width: "9%", right: true, of: (worker) => worker[SILENT] },
];

const natural = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

export class Workers {
  constructor() {
    this.workers = [];
    this.search = "";
    this.only = "all";
    this.sort = ["name", 1];
    this.open = null;
    choice($("workers-state"), [["all", "All"], ["busy", "Busy"], ["idle", "Idle"], ["silent", "Silent"]], "all", (only) => {
      this.only = only;
      this.draw();
    });
    $("workers-search").addEventListener("input", (event) => {
      this.search = event.target.value.trim().toLowerCase();
      this.draw();
    });
    this.heads = {};
    const head = h("thead", {}, h("tr", {}, COLUMNS.map((column) => this.head(column))));
    this.rows = new TableRows($("workers-scroller"), {
      label: "Workers",
      head,
      height: 44,
      key: (worker) => worker[NAME],
      make: (worker) => this.make(worker),
      show: (row, worker) => this.show(row, worker),
    });
    this.canvas = h("canvas", { "aria-hidden": "true" });
    this.key = h("div", { class: "crew-key" });
    fill($("crew-grid"), this.canvas, this.key);
    this.canvas.addEventListener("click", (event) => this.pick(event));
    this.canvas.addEventListener("mousemove", (event) => {
      const worker = this.at(event);
      this.canvas.title = worker ? `${worker[NAME]}: ${state_of(worker)}, ${one_or_more(worker[JOBS].length, "job", "jobs")}` : "";
    });
    new ResizeObserver(() => this.picture()).observe($("crew-grid"));
    on_theme(() => this.picture());
  }

  head(column) {
    const button = h("button", { type: "button", class: "sorter", onclick: () => this.sort_by(column.key) }, column.label, icon("down"));
    const cell = h("th", { scope: "col", class: [column.right ? "right" : "", column.wide ? "wide" : ""].join(" ").trim() || null, "aria-sort": column.key === "name" ? "ascending" : null }, button);
    if (column.width) cell.style.width = column.width;
    if (column.key === "name") fill(button, column.label, icon("up"));
    this.heads[column.key] = { cell, button, column };
    return cell;
  }

  sort_by(key) {
    const falling = key === "done" || key === "rate" || key === "jobs" || key === "silent";
    this.sort = this.sort[0] === key ? [key, -this.sort[1]] : [key, falling ? -1 : 1];
    for (const [name, { cell, button, column }] of Object.entries(this.heads)) {
      if (name === key) cell.setAttribute("aria-sort", this.sort[1] > 0 ? "ascending" : "descending");
      else cell.removeAttribute("aria-sort");
      fill(button, column.label, icon(name === key && this.sort[1] > 0 ? "up" : "down"));
    }
    $("workers-scroller").scrollTop = 0;
    this.draw();
  }

  /** Update the rows of the workers. */
  set(workers) {
    this.workers = workers;
    this.workers.sort((a, b) => natural.compare(a[NAME], b[NAME]));
    const jobs = workers.reduce((sum, worker) => sum + worker[JOBS].length, 0);
    say($("workers-words"), workers.length ? `${one_or_more(workers.length, "worker", "workers")}, ${one_or_more(jobs, "job", "jobs")} in hand` : "");
    this.picture();
    this.draw();
    this.refresh_drawer();
  }

  draw() {
    const column = this.heads[this.sort[0]].column;
    const chosen = this.workers.filter((worker) => (this.only === "all" || state_of(worker) === this.only) && this.fits(worker));
    const way = this.sort[1];
    if (column.key !== "name" || way < 0) {
      const values = new Map(chosen.map((worker) => [worker, column.of(worker)]));
      chosen.sort((a, b) => {
        const [x, y] = [values.get(a), values.get(b)];
        return way * (typeof x === "string" ? natural.compare(x, y) : x - y) || natural.compare(a[NAME], b[NAME]);
      });
    }
    this.rows.set(chosen);
    const all = this.workers.length;
    say($("workers-foot"), !all ? "No workers: start one with tmatic-worker, and it appears here by itself" : chosen.length === all ? "" : `${count(chosen.length)} of ${count(all)} workers`);
    this.rows.table.hidden = !all;
    $("workers-scroller").hidden = !all;
  }

  fits(worker) {
    const wanted = this.search;
    return !wanted || worker[NAME].toLowerCase().includes(wanted) || worker[ADDRESS].toLowerCase().includes(wanted) || worker[JOBS].some((job) => job[1].toLowerCase().includes(wanted));
  }

  make(worker) {
    const dot = h("span", { class: "status" });
    const name = h("button", { type: "button", class: "link", onclick: () => this.open_drawer(worker[NAME]) }, worker[NAME]);
    const state = h("span", { class: "unseen" });
    const cells = {
      address: h("td", { class: "mono wide" }),
      jobs: h("td"),
      budget: h("td", { class: "wide" }),
      rate: h("td", { class: "right wide" }),
      done: h("td", { class: "right wide" }),
      silent: h("td", { class: "right" }),
    };
    const row = h("tr", {}, h("th", { scope: "row" }, dot, name, state), Object.values(cells));
    row.cells_ = { ...cells, dot, state, shown: {} };
    return row;
  }

  show(row, worker) {
    const { address, jobs, budget, rate: rate_, done, silent, dot, state, shown } = row.cells_;
    const now = state_of(worker);
    if (dot.dataset.state !== now) {
      dot.dataset.state = now;
      state.textContent = `, ${now}`;
    }
    say(address, worker[ADDRESS] || "–");
    const hands = JSON.stringify(worker[JOBS].slice(0, hands_shown())) + worker[JOBS].length;
    if (hands !== shown.hands) {
      shown.hands = hands;
      fill(jobs, hands_of(worker));
    }
    const [share, of] = scarcest(worker);
    const left = of ? `${share}${of[1]}` : String(worker[BUDGETS].length);
    if (left !== shown.left) {
      shown.left = left;
      fill(budget, of ? [gauge(share), h("span", {}, `${count(of[1])} left`)] : h("span", { class: "quiet" }, worker[BUDGETS].length ? "no limit" : "–"));
    }
    say(rate_, worker[RATE] === null ? "–" : `${rate(worker[RATE])}/s`);
    say(done, count(worker[DONE]));
    say(silent, ago(worker[SILENT]));
    silent.classList.toggle("late", worker[SILENT] > SILENT_S);
  }

  // ------------------------------------------------------------------------------------------------------- the picture

  picture() {
    const width = $("crew-grid").clientWidth - 36;
    const all = this.workers.length;
    $("crew-grid").hidden = !all;
    if (!all || width < 40) return;
    const size = all <= 60 ? 22 : all <= 240 ? 15 : all <= 700 ? 11 : all <= 2500 ? 8 : 5;
    const gap = size > 8 ? 3 : 2;
    const columns = Math.max(1, Math.floor((width + gap) / (size + gap)));
    const lines = Math.ceil(all / columns);
    this.cells = { size: size + gap, columns };
    const scale = devicePixelRatio || 1;
    const height = lines * (size + gap) - gap;
    this.canvas.width = width * scale;
    this.canvas.height = height * scale;
    this.canvas.style.height = `${height}px`;
    const pen = this.canvas.getContext("2d");
    pen.scale(scale, scale);
    const tint = { busy: kept_colour("--op-update"), silent: kept_colour("--bad"), idle: kept_colour("--line-strong") };
    this.workers.forEach((worker, index) => {
      const state = state_of(worker);
      pen.fillStyle = tint[state];
      pen.globalAlpha = state === "busy" ? 0.35 + 0.65 * Math.min(1, worker[JOBS].length / (worker[ROOM] || 1)) : state === "idle" ? 0.65 : 1;
      pen.beginPath();
      pen.roundRect((index % columns) * (size + gap), Math.floor(index / columns) * (size + gap), size, size, size > 10 ? 3.5 : size / 3.5);
      pen.fill();
    });
    const states = { busy: 0, idle: 0, silent: 0 };
    for (const worker of this.workers) states[state_of(worker)] += 1;
    const labels = { busy: "busy (the fuller, the stronger)", idle: "idle", silent: "silent" };
    const drawn = JSON.stringify([states, tint]);
    if (drawn === this.drawn) return;
    this.drawn = drawn;
    fill(
      this.key,
      Object.entries(labels).map(([state, label]) => {
        const swatch = h("i");
        swatch.style.background = tint[state];
        return h("span", {}, swatch, `${count(states[state])} ${label}`);
      }),
    );
  }

  at(event) {
    if (!this.cells) return null;
    const { size, columns } = this.cells;
    const column = Math.floor(event.offsetX / size);
    return column < columns ? this.workers[Math.floor(event.offsetY / size) * columns + column] : null;
  }

  pick(event) {
    const worker = this.at(event);
    if (worker) this.open_drawer(worker[NAME]);
  }

  // -------------------------------------------------------------------------------------------------------- the drawer

  open_drawer(name) {
    const body = h("div", { class: "dialog-body" });
    const close = h("button", { type: "button", class: "tool", "aria-label": "Close" }, icon("close"));
    const box = h("dialog", { class: "drawer", "aria-labelledby": "worker-title" }, h("div", { class: "dialog-head" }, h("h2", { id: "worker-title" }, name), close), body);
    close.addEventListener("click", () => box.close());
    box.addEventListener("click", (event) => event.target === box && box.close());
    box.addEventListener("close", () => {
      box.remove();
      this.open = null;
    });
    document.body.append(box);
    this.open = { name, body, shown: "" };
    this.refresh_drawer();
    box.showModal();
  }

  refresh_drawer() {
    if (!this.open) return;
    const worker = this.workers.find((one) => one[NAME] === this.open.name);
    const shown = JSON.stringify(worker || null);
    if (shown === this.open.shown || (this.open.body.contains(document.activeElement) && document.activeElement !== this.open.body)) return;
    this.open.shown = shown;
    if (!worker) {
      fill(this.open.body, h("p", { class: "empty" }, h("strong", {}, "This worker has left"), "Its jobs went back to the frontier."));
      return;
    }
    const state = state_of(worker);
    const fact = (label, value) => [h("dt", {}, label), h("dd", {}, value)];
    fill(
      this.open.body,
      h(
        "dl",
        { class: "facts" },
        fact("State", h("span", { class: `pill ${{ busy: "good", silent: "bad", idle: "" }[state]}` }, state)),
        fact("Address", worker[ADDRESS] || "not told"),
        fact("Last sign of life", ago(worker[SILENT])),
        fact("Rate", worker[RATE] === null ? "not told" : `${rate(worker[RATE])} jobs end a second`),
        fact("Jobs done", count(worker[DONE])),
      ),
      h("h3", {}, `Jobs in hand, ${worker[JOBS].length} of ${count(worker[ROOM])}`),
      worker[JOBS].length ? worker[JOBS].map(job_row) : h("p", { class: "quiet" }, "None: it waits for the master to hand one out."),
      h("h3", {}, "Budgets"),
      worker[BUDGETS].length ? worker[BUDGETS].map(budget_row) : h("p", { class: "quiet" }, "None reported."),
    );
  }
}

function hands_of(worker) {
  const shown = worker[JOBS].slice(0, hands_shown());
  if (!shown.length) return h("span", { class: "quiet" }, "–");
  const rest = worker[JOBS].length - shown.length;
  return h(
    "div",
    { class: "hands" },
    shown.map(([letter, user, page]) =>
      h("span", { class: "hand", title: `${of_letter(letter).title} of ${user}${page === null ? "" : `, page ${page}`}` }, h("span", { class: "letter", dataset: { op: letter } }, letter), h("span", {}, user), page === null ? null : h("small", {}, `p${page}`)),
    ),
    rest > 0 ? h("span", { class: "quiet" }, `+${rest}`) : null,
  );
}

function job_row([letter, user, page, idle]) {
  const under = [page === null ? "" : `page ${count(page)}`, idle === null ? "" : `progress ${ago(idle)}`].filter(Boolean).join(" · ");
  return h("div", { class: "job" }, h("span", { class: "letter", dataset: { op: letter } }, letter), h("a", { href: user_link(user) }, user), h("span", { class: "quiet" }, under));
}

/** A bar of the share left, from 0 to 1. */
export function gauge(share) {
  const bar = h("i", { class: share < 0.2 ? "low" : null });
  bar.style.transform = `scaleX(${share <= 0 ? 0 : Math.max(0.03, Math.min(1, share))})`;
  return h("span", { class: `gauge${share <= 0 ? " spent" : ""}`, "aria-hidden": "true" }, bar);
}

/** A budget: [key, available, limit, outstanding, resets in s, in doubt]. */
export function budget_row([key, available, limit, outstanding, resets, doubtful]) {
  const held = [outstanding ? `${count(outstanding)} granted` : "", doubtful ? `${count(doubtful)} in doubt` : ""].filter(Boolean).join(" · ");
  const known = limit > 0 && available !== null;
  return h(
    "div",
    { class: "budget" },
    h("div", { class: "budget-name" }, h("span", { title: key }, key), h("span", { class: "quiet" }, resets === null ? "" : resets > 0 ? `resets in ${span(resets)}` : "resets now")),
    known ? gauge(available / limit) : null,
    h("div", { class: "budget-under" }, h("span", {}, known ? `${count(available)} of ${count(limit)} left` : available === null ? "not known yet" : `${count(available)} left, no limit told`), h("span", {}, held)),
  );
}
