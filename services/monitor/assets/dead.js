// Dead letters: why each job died, and to requeue or drop it. Every change is asked about, and told by the master.

import { $, fill, h, icon, say } from "./dom.js";
import { TableRows } from "./rows.js";
import { act, ask, ensure } from "./session.js";
import { ago, count, of_letter, one_or_more, user_link } from "./words.js";

const PAGE = 200;

const named = (letter) => `${letter.operation}:${letter.user}`;

export class Dead {
  constructor() {
    this.letters = [];
    this.total = 0;
    this.chosen = new Set();
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
    this.further = h("button", { type: "button", class: "button", onclick: () => this.load(true) }, "Load more");
    fill($("dead-tools"), this.words, h("div", { class: "controls" }, this.further, this.requeue_chosen, this.drop_chosen));
    this.draw();
  }

  /** The number of dead letters that the master tells; the list is asked for only when it has changed. */
  count(total) {
    if (total === this.total && this.asked) return;
    this.total = total;
    this.asked = true;
    if (total) this.load(false);
    else {
      this.letters = [];
      this.draw();
    }
  }

  async load(further) {
    if (this.loading) return;
    this.loading = true;
    const first = further ? this.letters.length : 0;
    const size = further ? PAGE : Math.max(PAGE, Math.min(500, this.letters.length));
    try {
      const { rows } = await ask(`/api/dead?first=${first}&count=${size}`);
      this.letters = further ? [...this.letters, ...rows] : rows;
      this.more = rows.length === size;
      say($("dead-foot"), "");
    } catch (error) {
      say($("dead-foot"), `The dead letters cannot be shown: ${error.message}`);
    } finally {
      this.loading = false;
      this.draw();
    }
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
    this.requeue_chosen.disabled = this.drop_chosen.disabled = !picked;
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
    if (!letters.length || !(await sure(what, letters)) || !(await ensure())) return;
    const jobs = letters.slice(0, 200).map((letter) => [letter.operation, letter.user]);
    try {
      const { results } = await act(`/api/dead/${what}`, { jobs });
      const failed = results.filter((one) => one.why_not);
      const done = new Set(results.filter((one) => !one.why_not).map((one) => `${one.operation}:${one.user}`));
      this.letters = this.letters.filter((letter) => !done.has(named(letter)));
      this.total = Math.max(0, this.total - done.size);
      const verb = what === "requeue" ? "requeued" : "dropped";
      say($("dead-foot"), `${one_or_more(done.size, "job", "jobs")} ${verb}${failed.length ? `; ${count(failed.length)} not: ${failed[0].why_not}` : ""}`);
    } catch (error) {
      say($("dead-foot"), `Nothing was changed: ${error.message}`);
    }
    this.draw();
  }
}

/** Ask whether this is meant. */
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
  fill(
    $("failures"),
    latest.length
      ? latest.slice(0, 60).map((one) =>
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
