// The one stream of events of a page: it reconnects by itself, and knows the age of its data.

import { at } from "./place.js";

const OLD_S = 4;
const LONGEST_WAIT_S = 15;
const UNSEEN_S = 5; // a hidden page keeps no connection for longer: a browser has six for all its tabs
const WAKING_MS = 3_000; // for so long a page that is visible again does not show its feed as lost

/** Receives `/api/stream`. `heard` has a function for each event by name, and `refused` for a refusal by the server;
 * `aged({state, seconds})` is called once a second. */
export class Stream {
  constructor(heard, aged) {
    this.heard = heard;
    this.aged = aged;
    this.boot = "";
    this.last = "";
    this.silent = null; // seconds since the master's last document, as the monitor reports
    this.at = 0;
    this.open = false;
    this.asleep = false;
    this.waking = false;
    this.wait_s = 1;
    this.connect();
    this.seen();
    setInterval(() => this.tell(), 1000);
    addEventListener("pageshow", (event) => event.persisted && this.reconnect());
    addEventListener("online", () => this.reconnect());
    document.addEventListener("visibilitychange", () => this.seen());
  }

  /** The page became visible or hidden. */
  seen() {
    clearTimeout(this.unseen);
    if (document.hidden) this.unseen = setTimeout(() => this.sleep(), UNSEEN_S * 1000);
    else if (this.asleep) {
      this.asleep = false;
      this.waking = true;
      setTimeout(() => (this.waking = false), WAKING_MS);
      this.reconnect();
    }
  }

  sleep() {
    this.asleep = true;
    this.open = false;
    clearTimeout(this.timer);
    this.source.close();
  }

  connect() {
    const source = new EventSource(at(`/api/stream?after=${encodeURIComponent(this.last)}`));
    this.source = source;
    source.onopen = () => {
      this.open = true;
      this.wait_s = 1;
    };
    source.onerror = () => {
      if (source !== this.source) return;
      this.open = this.waking = false;
      this.tell();
      if (source.readyState !== EventSource.CLOSED) return;
      this.later();
      this.pass("refused");
    };
    const on = (name, act) =>
      source.addEventListener(name, (event) => {
        if (source !== this.source) return;
        if (event.lastEventId) this.last = event.lastEventId;
        act(JSON.parse(event.data));
      });
    on("hello", (data) => {
      const before = this.boot;
      this.boot = data.boot;
      this.pass("hello", { ...data, anew: before !== data.boot, again: before !== "" });
    });
    on("beat", (data) => {
      this.age(data.silent_s);
      this.pass("beat", data);
    });
    on("overview", (data) => {
      this.age(data === null ? null : 0);
      if (data !== null) this.pass("overview", data);
      this.tell();
    });
    for (const name of ["workers", "lines", "failures"]) on(name, (data) => this.pass(name, data));
  }

  pass(name, data) {
    if (this.heard[name]) this.heard[name](data);
  }

  age(silent) {
    this.silent = silent;
    this.at = performance.now();
    this.waking = false;
  }

  /** The browser does not retry a stream that the server refused, so we do. */
  later() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.reconnect(), this.wait_s * 1000);
    this.wait_s = Math.min(LONGEST_WAIT_S, this.wait_s * 2);
  }

  reconnect() {
    if (this.asleep) return;
    clearTimeout(this.timer);
    this.source.close();
    this.connect();
  }

  tell() {
    if (this.asleep || this.waking) return;
    const seconds = this.silent === null ? null : this.silent + (performance.now() - this.at) / 1000;
    const state = !this.open ? "lost" : seconds === null ? "none" : seconds < OLD_S ? "live" : "old";
    this.aged({ state, seconds });
  }
}
