// The course of the crawl as charts: ours by uPlot, or Graphite's where there is one.

import uPlot from "./vendor/uplot/uPlot.esm.js";
import { $, choice, colour, fill, h, kept_colour, say } from "./dom.js";
import { on_theme } from "./bar.js";
import { ask } from "./session.js";
import { compact, OPERATIONS, rate, span, ticks, time, when } from "./words.js";

const RECENT_S = 900;
const REFRESH_S = 60; // how often the whole course is requested again

const per_operation = (what) => OPERATIONS.map((of) => ({ column: `${what}_${of.name}`, label: of.title, tint: `--op-${of.name}` }));

const DRAWN = {
  rates: {
    label: "Rates",
    series: [
      { column: "records_s", label: "records/s", tint: "--op-timeline", fill: true },
      { column: "pages_s", label: "pages/s", tint: "--op-analyzer", right: true },
      { column: "jobs_s", label: "jobs/s", tint: "--op-update", right: true },
    ],
    form: rate,
    graphite: ["alias(perSecond(timeline.total_fetched),'posts/s')", "alias(perSecond(follower.total_fetched),'followers/s')", "alias(perSecond(analyzer.total_fetched),'profiles/s')"],
  },
  totals: {
    label: "Totals",
    series: [
      { column: "records", label: "records", tint: "--op-timeline", fill: true },
      { column: "accounts", label: "accounts", tint: "--op-follower", right: true },
    ],
    form: compact,
    graphite: ["timeline.total_fetched", "follower.total_fetched", "analyzer.total_fetched", "update.total_fetched"],
  },
  done: {
    label: "Done",
    series: per_operation("completed"),
    form: compact,
    graphite: OPERATIONS.map((of) => `stats.worker.completed.${of.name}`),
  },
  open: {
    label: "Frontier",
    series: per_operation("open"),
    form: compact,
    graphite: OPERATIONS.map((of) => `stats.worker.ongoing.${of.name}`),
  },
  workers: {
    label: "Workers",
    series: [
      { column: "workers", label: "workers", tint: "--op-follower", fill: true },
      { column: "busy", label: "busy", tint: "--op-update" },
    ],
    form: compact,
    graphite: ["sumSeries(stats.worker.ongoing.*)"],
  },
};
const SPANS = { 300: "5 min", 900: "15 min", whole: "Whole crawl" };

export class Chart {
  constructor() {
    this.what = "rates";
    this.span = "300";
    this.columns = [];
    this.recent = [];
    this.whole = [];
    this.graphite = "";
    this.place = $("course-plot");
    choice($("course-what"), Object.entries(DRAWN).map(([key, of]) => [key, of.label]), this.what, (key) => {
      this.what = key;
      this.rebuild();
    });
    choice($("course-span"), Object.entries(SPANS), this.span, (key) => {
      this.span = key;
      this.rebuild();
    });
    on_theme(() => this.rebuild());
    new ResizeObserver(() => this.resize()).observe(this.place);
  }

  /** Request everything that the monitor keeps; afterwards `add` continues it. */
  async load() {
    let course;
    try {
      course = await ask("/api/course");
    } catch {
      return; // retried after the next minute; the bar shows that the feed is lost
    }
    this.columns = course.columns;
    this.recent = course.recent;
    this.whole = course.whole;
    this.started_at = course.started_at;
    this.loaded_at = performance.now();
    this.rebuild();
  }

  /** One more point from the overview, by column. */
  add(point) {
    if (!this.columns.length) return;
    if (performance.now() - this.loaded_at > REFRESH_S * 1000) {
      this.loaded_at = performance.now();
      this.load();
      return;
    }
    const last = this.recent[0][this.recent[0].length - 1];
    if (last !== undefined && point.at <= last) return;
    this.columns.forEach((name, index) => this.recent[index].push(point[name] ?? 0));
    while (this.recent[0].length > RECENT_S) for (const column of this.recent) column.shift();
    this.draw();
  }

  /** The last minutes of a column; "open" is all that is left. */
  series(name) {
    if (!this.columns.length) return [];
    if (name === "open") {
      const parts = OPERATIONS.map((of) => this.series(`open_${of.name}`));
      return parts[0].map((_, index) => parts.reduce((sum, part) => sum + part[index], 0));
    }
    return this.recent[this.columns.indexOf(name)];
  }

  data() {
    const of = DRAWN[this.what];
    const columns = this.span === "whole" ? this.with_now() : this.recent;
    const chosen = ["at", ...of.series.map((one) => one.column)].map((name) => columns[this.columns.indexOf(name)] || []);
    if (this.span === "whole" || !chosen[0].length) return chosen;
    const since = chosen[0][chosen[0].length - 1] - Number(this.span);
    const start = chosen[0].findIndex((at) => at >= since);
    return chosen.map((column) => column.slice(start));
  }

  /** The whole course, followed by the latest points. */
  with_now() {
    const now = this.recent[0].length - 1;
    if (now < 0) return this.whole;
    const last = this.whole[0][this.whole[0].length - 1] ?? 0;
    if (this.recent[0][now] <= last) return this.whole;
    return this.whole.map((column, index) => [...column, this.recent[index][now]]);
  }

  rebuild() {
    if (this.plot) this.plot.destroy();
    this.plot = null;
    this.place.replaceChildren();
    if (this.graphite) {
      this.show_graphite();
      return;
    }
    if (!this.columns.length) return;
    this.colours = DRAWN[this.what].series.map((one) => kept_colour(one.tint));
    this.draw();
  }

  draw() {
    if (this.graphite) {
      if (performance.now() - (this.image_at || 0) > 10_000) this.show_graphite();
      return;
    }
    const data = this.data();
    if (data[0].length < 2) {
      if (!this.place.firstChild) fill(this.place, h("p", { class: "empty" }, h("strong", {}, "Nothing to draw yet"), "The first points come with the master's first words."));
      this.legend(data, null);
      return;
    }
    if (!this.plot) {
      this.place.replaceChildren();
      this.plot = new uPlot(this.options(), data, this.place);
      this.plot.root.setAttribute("aria-hidden", "true");
    } else this.plot.setData(data);
    this.legend(data, null);
    const least = data[0][0];
    const most = data[0][data[0].length - 1];
    say($("course-foot"), this.span === "whole" ? `From ${when(least)} on, in steps of ${span(Math.max(1, (most - least) / data[0].length))}` : `The last ${span(most - least)}, second by second`);
  }

  options() {
    const of = DRAWN[this.what];
    const ink = colour("--ink-3");
    const grid = colour("--line");
    const font = "12px Inter, system-ui, sans-serif";
    const axis = { stroke: ink, font, ticks: { show: false }, gap: 8 };
    const whole = this.span === "whole";
    const values = (_, splits) => ticks(splits, of.form);
    const two = of.series.some((one) => one.right);
    return {
      width: this.place.clientWidth - 12,
      height: this.place.clientHeight,
      padding: [10, two ? 0 : 14, 0, 0],
      cursor: { points: { size: 8, width: 2 }, y: false },
      legend: { show: false },
      scales: { x: { time: true }, y: { range: from_zero }, right: { range: from_zero } },
      axes: [
        { ...axis, grid: { show: false }, space: 90, size: whole ? 44 : 32, values: whole ? undefined : (_, splits) => splits.map((value) => time(value).slice(0, value % 60 ? 8 : 5)) },
        { ...axis, grid: { stroke: grid, width: 1 }, size: 58, space: 46, values },
        ...(two ? [{ ...axis, scale: "right", side: 1, grid: { show: false }, size: 52, space: 46, values }] : []),
      ],
      series: [
        {},
        ...of.series.map((one, index) => ({
          label: one.label,
          scale: one.right ? "right" : "y",
          stroke: this.colours[index],
          width: 2,
          points: { show: false },
          fill: one.fill ? (plot) => shade(plot, this.colours[index]) : undefined,
        })),
      ],
      hooks: { setCursor: [(plot) => this.legend(plot.data, plot.cursor.idx)] },
    };
  }

  /** The legend, with the values under the cursor or the latest ones. */
  legend(data, at) {
    const of = DRAWN[this.what];
    const index = at === null || at === undefined ? data[0].length - 1 : at;
    const parts = of.series.map((one, number) => {
      const swatch = h("i");
      swatch.style.setProperty("--of", `var(${one.tint})`);
      const value = data[number + 1] ? data[number + 1][index] : undefined;
      return h("span", {}, swatch, one.label, " ", h("b", {}, value === undefined ? "–" : of.form(value)));
    });
    if (at !== null && at !== undefined && data[0][index]) parts.push(h("span", { class: "quiet" }, this.span === "whole" ? when(data[0][index]) : time(data[0][index])));
    fill($("course-legend"), parts);
  }

  resize() {
    if (this.plot && this.place.clientWidth > 60) this.plot.setSize({ width: this.place.clientWidth - 12, height: this.place.clientHeight });
  }

  /** Show Graphite's chart, or ours if Graphite cannot be reached. */
  show_graphite() {
    this.image_at = performance.now();
    const from = this.span === "whole" ? "-7d" : `-${Number(this.span) / 60}min`;
    const asked = new URLSearchParams({
      from,
      width: String(Math.max(200, this.place.clientWidth - 20)),
      height: String(this.place.clientHeight),
      bgcolor: hex(colour("--card")),
      fgcolor: hex(colour("--ink-2")),
      fontName: "DejaVu Sans",
      lineMode: "connected",
      _: String(Math.round(Date.now() / 10_000)),
    });
    for (const target of DRAWN[this.what].graphite) asked.append("target", target);
    const image = new Image();
    image.alt = `${DRAWN[this.what].label}, drawn by Graphite`;
    image.onload = () => this.graphite && fill(this.place, image);
    image.onerror = () => {
      this.graphite = "";
      this.rebuild();
      say($("course-foot"), "Graphite cannot be reached, so these are the monitor's own charts");
    };
    image.src = `${this.graphite}/render?${asked}`;
    fill($("course-legend"), h("span", { class: "quiet" }, `Drawn by Graphite at ${this.graphite}`));
    say($("course-foot"), "");
  }
}

function from_zero(_, __, most) {
  return [0, most > 0 ? most * 1.12 : 1];
}

function shade(plot, tint) {
  const gradient = plot.ctx.createLinearGradient(0, plot.bbox.top, 0, plot.bbox.top + plot.bbox.height);
  gradient.addColorStop(0, with_alpha(tint, 0.26));
  gradient.addColorStop(1, with_alpha(tint, 0.01));
  return gradient;
}

const parts_of = (tint) => (tint.match(/[\d.]+/g) || ["0", "0", "0"]).slice(0, 3).map(Number);
const with_alpha = (tint, alpha) => `rgba(${parts_of(tint).join(",")},${alpha})`;
const hex = (tint) => parts_of(tint).map((value) => Math.round(value).toString(16).padStart(2, "0")).join("");
