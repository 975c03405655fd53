// The inspection page: a query of the index, and its results as posts, over time, by hashtag and on a map.

import uPlot from "./vendor/uplot/uPlot.esm.js";
import { $, colour, fill, h, kept_colour } from "./dom.js";
import { bar, on_theme } from "./bar.js";
import { open_post, post_card } from "./post.js";
import { ask, on_session } from "./session.js";
import { World } from "./world.js";
import { compact, count, one_or_more, utc_date, utc_when } from "./words.js";

const PAGE = 20;
const FIRST_DAY = "1970-01-01";
const LAST_DAY = 4_291_574_400; // 2105-12-30: the index knows times up to some weeks later
const form = $("ask");
let first = 0;
let total = 0;
let latest = null;
let turn = 0;
let world = null;
let plot = null;
let refused = false;

await bar("/inspect", false);
restore();
form.addEventListener("submit", (event) => {
  event.preventDefault();
  go(0);
});
form.addEventListener("reset", () => setTimeout(() => go(0)));
for (const control of form.querySelectorAll(".filters input, .filters select")) control.addEventListener("change", () => go(0));
addEventListener("popstate", () => {
  restore();
  search();
});
on_theme(() => latest && bars(latest.histogram));
new ResizeObserver(() => plot && plot.setSize({ width: $("bars").clientWidth - 20, height: 142 })).observe($("bars"));
search();
on_session((signed) => signed && refused && search());

function asked() {
  const said = new FormData(form);
  const query = new URLSearchParams();
  for (const [name, value] of said) if (value && !(name === "sort" && value === "newest")) query.set(name, value);
  return query;
}

function restore() {
  const query = new URLSearchParams(location.search);
  for (const control of form.elements) {
    if (!control.name) continue;
    if (control.type === "checkbox") control.checked = query.has(control.name);
    else if (control.tagName === "SELECT") control.value = query.get(control.name) || "newest";
    else control.value = query.get(control.name) || "";
  }
  first = Number(query.get("first")) || 0;
}

function go(from) {
  first = from;
  const query = asked();
  if (first) query.set("first", String(first));
  const text = query.toString();
  history.pushState(null, "", text ? `?${text}` : location.pathname);
  search();
}

/** Whether posts can be of that day; none is said by "". */
function is_day(text) {
  const at = Date.parse(text || FIRST_DAY) / 1000;
  return at >= 0 && at <= LAST_DAY;
}

async function search() {
  const mine = ++turn;
  const query = asked();
  const from = query.get("from");
  const until = query.get("until");
  query.delete("from");
  if (![from, until].every(is_day)) {
    refused = false;
    $("results").hidden = true;
    fill($("found"), h("span", { class: "stop" }, h("strong", {}, "These days cannot be searched"), `From and until are days from ${utc_date(0)} to ${utc_date(LAST_DAY)}.`));
    return;
  }
  if (from) query.set("since", String(Date.parse(from) / 1000));
  if (until) query.set("until", String(Date.parse(until) / 1000 + 86_400));
  query.set("first", String(first));
  query.set("count", String(PAGE));
  let found;
  try {
    found = await ask(`/api/search?${query}`);
  } catch (error) {
    if (mine !== turn) return;
    refused = error.status === 401;
    $("results").hidden = true;
    fill($("found"), h("span", { class: "stop" }, h("strong", {}, "Nothing can be searched now"), `${error.message}.`));
    return;
  }
  if (mine !== turn) return;
  refused = false;
  show(found, (query.get("q") || "").toLowerCase().split(/[\s"]+/));
}

function show(found, wanted) {
  latest = found;
  total = found.total;
  fill($("found"), total ? [h("strong", {}, one_or_more(total, "post", "posts")), found.took_ms ? ` in ${found.took_ms < 10 ? found.took_ms.toFixed(1) : count(found.took_ms)} ms` : ""] : h("span", { class: "stop" }, h("strong", {}, "No post fits"), "Try fewer words or filters."));
  $("results").hidden = !total;
  if (!total) return;
  fill($("posts"), found.hits.map((post) => post_card(post, { wanted, tag: choose_tag })));
  const last = Math.min(total, first + found.hits.length);
  fill(
    $("pager"),
    h("button", { type: "button", class: "button", disabled: first === 0, onclick: () => turn_to(first - PAGE) }, "Before"),
    h("span", {}, `${count(first + 1)} to ${count(last)} of ${count(total)}`),
    h("button", { type: "button", class: "button", disabled: last >= total || last + PAGE > 10_000, onclick: () => turn_to(first + PAGE) }, "Further"),
  );
  bars(found.histogram);
  tags(found.hashtags);
  places(found.located, found.located_more);
}

function turn_to(from) {
  go(Math.max(0, from));
  scrollTo({ top: 0 });
}

function choose_tag(name) {
  form.elements.hashtag.value = name;
  go(0);
}

function tags(rows) {
  const most = rows.length ? rows[0][1] : 1;
  fill(
    $("tags"),
    rows.length
      ? rows.slice(0, 12).map(([name, posts]) => {
          const part = h("i");
          part.style.transform = `scaleX(${posts / most})`;
          return h("li", {}, h("button", { type: "button", onclick: () => choose_tag(name) }, h("span", {}, `#${name}`), h("span", { class: "track", "aria-hidden": "true" }, part), h("span", { class: "number" }, compact(posts))));
        })
      : h("li", { class: "quiet" }, "None in these posts"),
  );
}

function bars(rows) {
  if (plot) plot.destroy();
  plot = null;
  fill($("bars"));
  $("time-words").textContent = "";
  if (!rows.length) {
    fill($("bars"), h("p", { class: "empty" }, "No post has a time"));
    return;
  }
  const width = rows.length > 1 ? rows[1][0] - rows[0][0] : 86_400;
  const from = rows[0][0];
  const until = rows[rows.length - 1][0] + width;
  $("time-words").textContent = `${utc_date(from)} to ${utc_date(until - 1)}, in UTC`;
  const tint = kept_colour("--op-timeline");
  const font = "12px Inter, system-ui, sans-serif";
  const axis = { stroke: colour("--ink-3"), font, ticks: { show: false }, gap: 6 };
  plot = new uPlot(
    {
      width: $("bars").clientWidth - 20,
      height: 142,
      padding: [6, 6, 0, 0],
      legend: { show: false },
      tzDate: (unix) => uPlot.tzDate(new Date(unix * 1000), "Etc/UTC"),
      cursor: { points: { show: false }, y: false, drag: { x: true, setScale: false } },
      scales: { x: { time: true, range: () => [from, until] }, y: { range: (_, __, most) => [0, most * 1.1] } },
      axes: [
        { ...axis, grid: { show: false }, space: 80, size: 40 },
        { ...axis, grid: { stroke: colour("--line"), width: 1 }, size: 44, space: 34, values: (_, splits) => splits.map((value) => (Number.isInteger(value) ? compact(value) : "")) },
      ],
      series: [{}, { fill: tint, width: 0, points: { show: false }, paths: uPlot.paths.bars({ size: [0.8, 60], align: 1, radius: 0.12 }) }],
      hooks: {
        setCursor: [
          (of) => {
            const at = of.cursor.idx;
            if (at !== null && at !== undefined && of.data[0][at]) $("time-words").textContent = `${width < 86_400 ? utc_when(of.data[0][at]) : `${utc_date(of.data[0][at])}, UTC`}: ${one_or_more(of.data[1][at], "post", "posts")}`;
          },
        ],
        setSelect: [(of) => of.select.width > 4 && narrow(of.posToVal(of.select.left, "x"), of.posToVal(of.select.left + of.select.width, "x"))],
      },
    },
    [rows.map((row) => row[0]), rows.map((row) => row[1])],
    $("bars"),
  );
  plot.root.setAttribute("aria-hidden", "true");
}

const as_date = (unix) => new Date(unix * 1000).toISOString().slice(0, 10);

/** Use a range of the chart as the new from and until. */
function narrow(from, until) {
  form.elements.from.value = as_date(from);
  form.elements.until.value = as_date(until);
  go(0);
}

function places(rows, more) {
  const some = more ? `the ${form.elements.sort.value} ${count(rows.length)} posts` : one_or_more(rows.length, "post", "posts");
  $("map-words").textContent = rows.length ? `${some} with a place` : "no post here has a place";
  world = world || new World($("map"), (id) => open_post(id, "", ""));
  world.show(rows);
}
