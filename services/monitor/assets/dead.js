// Dead letters: why each job died; requeue or drop it. The user confirms each change, and the master reports it.

import { $, fill, h, icon, say } from "./dom.js";
import { TableRows } from "./rows.js";
import { act, ask, ensure } from "./session.js";
import { ago, count, of_letter, one_or_more, user_link } from "./words.js";

const PAGE = 200;
const MOST_ROWS = 500; // of one answer
const AT_ONCE = 200; // jobs of one action
const AGAIN_MS = 5_000; // after a list that could not be loaded

const named = (letter) => `${letter.operation}:${letter.user}`;

export class Dead {
  constructor() {
    this.letters = [];
    this.total = 0;
    this.loaded = 0; // the total when the list was loaded; null when it must be reloaded
    this.wanted = PAGE; // how many letters are requested
    this.next_at = 0;
    this.newest = null; // the last failure received
    this.chosen = new Set();
    this.changing = false;
    this.more = false;
    this.all = h("input", { type: "checkbox", "aria-label": "Choose all", onchange: () => this.choose_all() });
    const head = h(
      "thead",
      {},
      h("tr", {}, h("th", { scope: "col" }, this.all), h("th", { scope: "col" }, "Job"), h("th", { scope: "col", class: "wide" }, "Tries"), h("th", { scope: "col" }, "Why it died"), h("th", { scope: "col", class: "right" }, h("span", { class: "unseen" }, "Actions"))),
    );
    this.rows = new TableRows($("dead-scroller"), {
      label: "Dead letters",
      head,
      height: 46,
      key: named,
      make: (letter) => this.make(letter),
      show: (row, letter) => this.show(row, letter),
    });
    this.none = h("p", { class: "empty", hidden: true }, h("strong", {}, "No dead letters"), "A job that failed too often would wait here for a word from you.");
    $("dead-scroller").after(this.none);
    this.requeue_chosen = h("button", { type: "button", class: "button", onclick: () => this.change("requeue", this.picked()) }, icon("again"), "Requeue");
    this.drop_chosen = h("button", { type: "button", class: "button", onclick: () => this.change("drop", this.picked()) }, icon("drop"), "Drop");
    this.words = h("span", { class: "quiet" });
    this.further = h("button", { type: "button", class: "button", onclick: () => this.load_more() }, "Load more");
    fill($("dead-tools"), this.words, h("div", { class: "controls" }, this.further, this.requeue_chosen, this.drop_chosen));
    this.draw();
  }

  /** The number of dead letters that the master reports; the list is requested until it matches this number. */
  count(total) {
    const before = this.total;
    this.total = total;
    if (total === this.loaded) return;
    if (total) {
      if (before !== total) this.draw();
      if (performance.now() >= this.next_at) this.load();
      return;
    }
    this.loaded = 0;
    this.wanted = PAGE;
    this.letters = [];
    this.more = false;
    this.complain("");
    this.draw();
  }

  /** The list may have changed although the number is the same: the next overview reloads it. */
  renew() {
    this.loaded = null;
  }

  /** The latest failures, newest first: one that died since is another letter. */
  hear(latest) {
    if (this.newest !== null && latest.some((one) => one.dead && one.sequence > this.newest)) this.renew();
    this.newest = latest.length ? latest[0].sequence : 0;
  }

  load_more() {
    this.wanted = this.letters.length + PAGE;
    this.renew();
    this.load();
  }

  /** Request as many letters as are wanted. */
  async load() {
    if (this.loading) return;
    this.loading = true;
    const began = performance.now();
    const total = this.total;
    this.loaded = total;
    const most = this.wanted;
    const found = new Map();
    let first = 0;
    let more = true;
    try {
      while (more && first < most) {
        const size = Math.min(MOST_ROWS, most - first);
        const { rows } = await ask(`/api/dead?first=${first}&count=${size}`);
        for (const letter of rows) found.set(named(letter), letter);
        more = rows.length === size;
        first += size;
      }
      this.letters = [...found.values()];
      this.more = more;
      this.complain("");
      this.next_at = performance.now() + 4 * (performance.now() - began);
    } catch (error) {
      this.renew();
      this.next_at = performance.now() + AGAIN_MS;
      this.complain(`The dead letters cannot be ${this.letters.length ? "brought up to date" : "shown"}: ${error.message}`);
    } finally {
      this.loading = false;
      this.draw();
    }
  }

  /** Show why there is no list, or that there is one again; the result of an action stays. */
  complain(words) {
    if (words || this.complained) say($("dead-foot"), words);
    this.complained = words !== "";
  }

  picked() {
    return this.letters.filter((letter) => this.chosen.has(named(letter)));
  }

  choose_all() {
    this.chosen = new Set(this.all.checked ? this.letters.map(named) : []);
    this.draw();
  }

  draw() {
    const there = new Set(this.letters.map(named));
    for (const name of this.chosen) if (!there.has(name)) this.chosen.delete(name);
    const some = this.letters.length > 0;
    $("dead-scroller").hidden = !some;
    $("dead-tools").hidden = !some;
    this.none.hidden = some || this.total > 0;
    this.rows.set(this.letters);
    const picked = this.chosen.size;
    this.all.checked = some && picked === this.letters.length;
    this.all.indeterminate = picked > 0 && picked < this.letters.length;
    this.requeue_chosen.disabled = this.drop_chosen.disabled = !picked || this.changing;
    this.further.hidden = !this.more;
    say(this.words, picked ? `${count(picked)} chosen` : `${count(this.letters.length)} shown`);
    say($("dead-words"), this.total ? `${one_or_more(this.total, "job", "jobs")} gave up after too many tries` : "");
  }

  make(letter) {
    const box = h("input", {
      type: "checkbox",
      "aria-label": `Choose ${of_letter(letter.operation).title} of ${letter.user}`,
      onchange: () => {
        if (box.checked) this.chosen.add(named(letter));
        else this.chosen.delete(named(letter));
        this.draw();
      },
    });
    const words = h("span");
    const tries = h("td", { class: "wide" });
    const button = (name, label, mark) => h("button", { type: "button", class: "button small", title: label, "aria-label": `${label} ${of_letter(letter.operation).title} of ${letter.user}`, onclick: () => this.change(name, [letter]) }, icon(mark), h("span", { class: "wide" }, label));
    const row = h(
      "tr",
      {},
      h("td", {}, box),
      h("th", { scope: "row" }, h("span", { class: "hands" }, h("span", { class: "letter", dataset: { op: letter.operation }, title: of_letter(letter.operation).title }, letter.operation), h("a", { href: user_link(letter.user) }, letter.user))),
      tries,
      h("td", { class: "words" }, words),
      h("td", { class: "right" }, h("div", { class: "actions" }, button("requeue", "Requeue", "again"), button("drop", "Drop", "drop"))),
    );
    row.parts = { box, words, tries };
    return row;
  }

  show(row, letter) {
    row.parts.box.checked = this.chosen.has(named(letter));
    say(row.parts.words, letter.words || "no reason was kept");
    row.parts.words.title = letter.words + (letter.cursor ? ` (from cursor ${letter.cursor})` : "");
    say(row.parts.tries, count(letter.tries));
  }

  async change(what, letters) {
    if (this.changing || !letters.length || !(await sure(what, letters)) || !(await ensure())) return;
    this.changing = true;
    this.draw();
    const verb = what === "requeue" ? "requeued" : "dropped";
    const done = new Set();
    let why_not = "";
    try {
      for (let first = 0; first < letters.length; first += AT_ONCE) {
        const jobs = letters.slice(first, first + AT_ONCE).map((letter) => [letter.operation, letter.user]);
        const { results } = await act(`/api/dead/${what}`, { jobs });
        for (const one of results) {
          if (!one.why_not) done.add(`${one.operation}:${one.user}`);
          else why_not = why_not || one.why_not;
        }
        if (letters.length > AT_ONCE) this.told(`${count(done.size)} of ${count(letters.length)} jobs ${verb} so far`);
      }
    } catch (error) {
      why_not = error.message;
    }
    const rest = letters.length - done.size;
    this.told(done.size || !rest ? `${one_or_more(done.size, "job", "jobs")} ${verb}${rest ? `; ${count(rest)} not: ${why_not}` : ""}` : `Nothing was changed: ${why_not}`);
    this.letters = this.letters.filter((letter) => !done.has(named(letter)));
    this.total = Math.max(0, this.total - done.size);
    this.changing = false;
    this.renew();
    this.draw();
  }

  told(words) {
    this.complained = false;
    say($("dead-foot"), words);
  }
}

/** Ask for confirmation. */
function sure(what, letters) {
  const one = letters.length === 1 ? `${of_letter(letters[0].operation).title} of ${letters[0].user}` : one_or_more(letters.length, "job", "jobs");
  const drop = what === "drop";
  const title = drop ? `Drop ${one}?` : `Requeue ${one}?`;
  const text = drop ? "A dropped job is given up for good: what it had stored stays, the rest is never fetched." : "The job waits in its queue again and goes on from its last accepted page, with its tries counted anew.";
  return new Promise((resolve) => {
    let meant = false;
    const box = h(
      "dialog",
      { "aria-labelledby": "sure-title", role: "alertdialog", "aria-describedby": "sure-text" },
      h("div", { class: "dialog-head" }, h("h2", { id: "sure-title" }, title)),
      h(
        "div",
        { class: "dialog-body" },
        h("p", { id: "sure-text", class: "quiet" }, text),
        h(
          "div",
          { class: "dialog-actions" },
          h("button", { type: "button", class: "button", onclick: () => box.close() }, "Cancel"),
          h(
            "button",
            {
              type: "button",
              class: `button ${drop ? "grave" : "main"}`,
              onclick: () => {
                meant = true;
                box.close();
              },
            },
            drop ? "Drop for good" : "Requeue",
          ),
        ),
      ),
    );
    box.addEventListener("close", () => {
      box.remove();
      resolve(meant);
    });
    document.body.append(box);
    box.showModal();
  });
}

/** The latest failures, beside the dead letters. */
export function show_failures({ count: total, latest }) {
  const now = Date.now() / 1000;
  say($("failures-count"), total ? `${count(total)} heard` : "");
  if ($("failures").contains(document.activeElement) && document.activeElement !== $("failures")) return; // it stays where it is
  fill(
    $("failures"),
    latest.length
      ? latest.map((one) =>
          h(
            "div",
            { class: "failure" },
            h("span", { class: "letter", dataset: { op: one.operation } }, one.operation),
            h("a", { href: user_link(one.user) }, one.user),
            h("span", { class: "quiet" }, one.dead ? h("span", { class: "pill bad" }, "died") : null, one.at === null ? " earlier" : ` ${ago(now - one.at)}`),
            h("p", {}, `${one.words || "no reason given"} · try ${count(one.tries)}${one.worker ? ` at ${one.worker}` : ""}`),
          ),
        )
      : h("p", { class: "empty" }, h("strong", {}, "Nothing has failed"), "since this monitor began to listen."),
  );
}
