// Rows of one height of which only those in sight exist, so that a thousand workers or ten thousand lines stay smooth.

import { h } from "./dom.js";

const MARGIN = 6; // rows above and below what is in sight

/** The rows in sight of a scroller: the first one's index and how many. */
function in_sight(scroller, height, count, head) {
  const first = Math.max(0, Math.floor((scroller.scrollTop - head) / height) - MARGIN);
  const most = Math.ceil(scroller.clientHeight / height) + 2 * MARGIN;
  return [Math.min(first, Math.max(0, count - most)), Math.min(count, most)];
}

function when_scrolled(scroller, draw) {
  let asked = false;
  const soon = () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      draw();
    });
  };
  scroller.addEventListener("scroll", soon, { passive: true });
  new ResizeObserver(soon).observe(scroller);
}

/** A table. `head` is its <thead>; `make(item)` a new <tr>; `show(tr, item)` updates it; `key(item)` identifies it. */
export class TableRows {
  constructor(scroller, { label, head, height, make, show, key }) {
    Object.assign(this, { scroller, height, make, show, key });
    this.items = [];
    this.rows = new Map();
    this.above = h("tr", { class: "spacer", "aria-hidden": "true" }, h("td"));
    this.below = h("tr", { class: "spacer", "aria-hidden": "true" }, h("td"));
    this.body = h("tbody", {}, this.above, this.below);
    this.table = h("table", { "aria-label": label }, head, this.body);
    scroller.append(this.table);
    when_scrolled(scroller, () => this.draw());
  }

  set(items) {
    this.items = items;
    this.table.setAttribute("aria-rowcount", String(items.length + 1));
    this.draw();
  }

  draw() {
    const [first, most] = in_sight(this.scroller, this.height, this.items.length, 38);
    const shown = this.items.slice(first, first + most);
    const kept = new Map();
    const held = document.activeElement;
    let before = this.above;
    shown.forEach((item, offset) => {
      const key = this.key(item);
      const row = this.rows.get(key) || this.make(item);
      this.show(row, item);
      row.setAttribute("aria-rowindex", String(first + offset + 2));
      kept.set(key, row);
      if (before.nextSibling !== row) before.after(row);
      before = row;
    });
    for (const [key, row] of this.rows) if (!kept.has(key)) row.remove();
    this.rows = kept;
    if (held !== document.activeElement && this.body.contains(held)) held.focus({ preventScroll: true }); // its row was moved
    this.above.firstChild.style.height = `${first * this.height}px`;
    this.below.firstChild.style.height = `${Math.max(0, this.items.length - first - shown.length) * this.height}px`;
  }
}

/** A list in which one row is selected by arrow keys or a click. `make(item)` is a row's element. */
export class ListRows {
  constructor(scroller, { height, make, selected, prefix }) {
    Object.assign(this, { scroller, height, make, selected, prefix });
    this.items = [];
    this.inner = h("div", { class: "log-inner", role: "presentation" });
    this.chosen = null;
    scroller.append(this.inner);
    when_scrolled(scroller, () => this.draw());
    scroller.addEventListener("keydown", (event) => this.keyed(event));
    scroller.addEventListener("click", (event) => {
      const row = event.target.closest("[data-index]");
      if (row) this.choose(this.items[Number(row.dataset.index)]);
    });
  }

  set(items) {
    this.items = items;
    this.inner.style.height = `${items.length * this.height}px`;
    this.draw();
  }

  at_end() {
    return this.scroller.scrollTop + this.scroller.clientHeight >= this.scroller.scrollHeight - this.height;
  }

  to_end() {
    this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  choose(item) {
    this.chosen = item;
    this.draw();
    this.selected(item);
  }

  keyed(event) {
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 15, PageUp: -15, Home: -Infinity, End: Infinity };
    if (!(event.key in steps) || !this.items.length) {
      if (event.key === "Escape" && this.chosen) this.choose(null);
      return;
    }
    event.preventDefault();
    const from = this.chosen ? this.items.indexOf(this.chosen) : -1;
    const start = from < 0 ? Math.floor(this.scroller.scrollTop / this.height) : from + steps[event.key];
    const index = Math.max(0, Math.min(this.items.length - 1, start));
    const top = index * this.height;
    if (top < this.scroller.scrollTop) this.scroller.scrollTop = top;
    const bottom = top + this.height - this.scroller.clientHeight;
    if (bottom > this.scroller.scrollTop) this.scroller.scrollTop = bottom;
    this.choose(this.items[index]);
  }

  draw() {
    const [first, most] = in_sight(this.scroller, this.height, this.items.length, 0);
    const rows = this.items.slice(first, first + most).map((item, offset) => {
      const index = first + offset;
      const row = this.make(item);
      row.style.top = `${index * this.height}px`;
      row.id = `${this.prefix}-${index}`;
      row.dataset.index = String(index);
      row.setAttribute("role", "option");
      row.setAttribute("aria-setsize", String(this.items.length));
      row.setAttribute("aria-posinset", String(index + 1));
      row.setAttribute("aria-selected", String(item === this.chosen));
      return row;
    });
    this.inner.replaceChildren(...rows);
    const at = this.chosen ? this.items.indexOf(this.chosen) : -1;
    if (at >= first && at < first + most) this.scroller.setAttribute("aria-activedescendant", `${this.prefix}-${at}`);
    else this.scroller.removeAttribute("aria-activedescendant");
  }
}
