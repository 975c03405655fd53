// The log's tail, with search and level; ten thousand lines stay smooth, since only those in sight are drawn.

import { $, choice, fill, h, say } from "./dom.js";
import { ListRows } from "./rows.js";
import { count, one_or_more, time, when } from "./words.js";

const LEVELS = ["debug", "info", "warning", "error", "critical"];
const [NUMBER, AT, LEVEL, MESSAGE, FIELDS] = [0, 1, 2, 3, 4];

export class Log {
  constructor() {
    this.lines = [];
    this.shown = [];
    this.most = 300;
    this.least = 0;
    this.search = "";
    this.follow = true;
    choice($("log-level"), [["0", "All"], ["1", "Info"], ["2", "Warnings"], ["3", "Errors"]], "0", (least) => {
      this.least = Number(least);
      this.filter();
    });
    $("log-search").addEventListener("input", (event) => {
      this.search = event.target.value.trim().toLowerCase();
      this.filter();
    });
    this.scroller = $("log-scroller");
    this.rows = new ListRows(this.scroller, { height: 24, prefix: "line", make: (line) => this.make(line), selected: (line) => this.detail(line) });
    this.button = $("log-follow");
    this.button.addEventListener("click", () => this.set_follow(!this.follow));
    this.placed = 0; // where we have put it: whatever else it is scrolled to was meant by somebody
    this.scroller.addEventListener("scroll", () => this.scrolled(), { passive: true });
    this.none = h("p", { class: "empty", hidden: true });
    this.scroller.after(this.none);
    this.filter();
  }

  set_follow(follow) {
    if (follow === this.follow) return;
    this.follow = follow;
    this.button.setAttribute("aria-pressed", String(follow));
    if (follow) this.rows.to_end();
    this.placed = this.scroller.scrollTop;
  }

  /** Scrolling to the end follows the log, scrolling away from it does not; nor does reading a line. */
  scrolled() {
    if (this.scroller.hidden || Math.abs(this.scroller.scrollTop - this.placed) < 1) return;
    this.placed = this.scroller.scrollTop;
    this.set_follow(this.rows.at_end() && !this.rows.chosen);
  }

  /** Start over: the monitor was restarted, and counts its lines from one. */
  clear(most) {
    this.most = most;
    this.lines = [];
    this.filter();
  }

  /** More lines, oldest first. */
  add(lines) {
    const last = this.lines.length ? this.lines[this.lines.length - 1][NUMBER] : 0;
    const fresh = lines.filter((line) => line[NUMBER] > last);
    this.lines.push(...fresh);
    let gone = 0;
    if (this.lines.length > this.most) {
      const first = this.lines[this.lines.length - this.most][NUMBER];
      this.lines = this.lines.slice(-this.most);
      const kept = this.shown.findIndex((line) => line[NUMBER] >= first);
      gone = kept < 0 ? this.shown.length : kept;
      this.shown = this.shown.slice(gone);
    }
    this.shown.push(...fresh.filter((line) => this.fits(line)));
    if (gone && !this.follow) this.scroller.scrollTop -= gone * 24;
    this.draw();
  }

  fits(line) {
    return LEVELS.indexOf(line[LEVEL]) >= this.least && (!this.search || `${line[MESSAGE]} ${line[FIELDS]}`.toLowerCase().includes(this.search));
  }

  filter() {
    this.shown = this.lines.filter((line) => this.fits(line));
    this.draw();
  }

  draw() {
    const some = this.shown.length > 0;
    this.scroller.hidden = !some;
    this.none.hidden = some;
    if (!some) fill(this.none, this.lines.length ? [h("strong", {}, "No line fits"), "Try another word or a lower level."] : [h("strong", {}, "Nothing has been logged yet"), "Lines of the master appear here as it writes them."]);
    this.rows.set(this.shown);
    if (this.follow) this.rows.to_end();
    this.placed = this.scroller.scrollTop;
    const words = this.shown.length === this.lines.length ? one_or_more(this.lines.length, "line", "lines") : `${count(this.shown.length)} of ${one_or_more(this.lines.length, "line", "lines")}`;
    say($("log-words"), some || this.lines.length ? `${words}, the last ${count(this.most)} are kept` : "");
  }

  make(line) {
    const words = h("span", { class: "words" }, marked(line[MESSAGE], this.search), line[FIELDS] ? h("span", {}, " ", marked(line[FIELDS], this.search)) : null);
    return h("div", { class: "log-line", dataset: { level: line[LEVEL] } }, h("time", {}, time(line[AT])), h("b", {}, line[LEVEL] === "warning" ? "warn" : line[LEVEL]), words);
  }

  detail(line) {
    const place = $("log-detail");
    place.hidden = line === null;
    if (line === null) return;
    this.set_follow(false);
    fill(place, h("dl", {}, [["at", `${when(line[AT])} (${time(line[AT])})`], ["level", line[LEVEL]], ["message", line[MESSAGE]], ["fields", line[FIELDS]]].filter(([, value]) => value).map(([label, value]) => [h("dt", {}, label), h("dd", {}, value)])));
  }
}

/** The text with the search term marked in it. */
function marked(text, wanted) {
  if (!wanted) return text;
  const parts = [];
  const low = text.toLowerCase();
  let from = 0;
  for (let at = low.indexOf(wanted); at >= 0 && parts.length < 40; at = low.indexOf(wanted, from)) {
    parts.push(text.slice(from, at), h("mark", {}, text.slice(at, at + wanted.length)));
    from = at + wanted.length;
  }
  parts.push(text.slice(from));
  return parts;
}
