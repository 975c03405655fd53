// The one stream of events of a page: it comes back by itself, and knows how old what it shows is.

const OLD_S = 4;
const LONGEST_WAIT_S = 15;

/** Hears `/api/stream`. `heard` has a function for each event by name; `aged({state, seconds})` is called once a second. */
export class Stream {
  constructor(heard, aged) {
    this.heard = heard;
    this.aged = aged;
    this.boot = "";
    this.last = "";
    this.silent = null; // seconds of silence of the master's documents, as the monitor said
    this.at = 0;
    this.open = false;
    this.wait_s = 1;
    this.connect();
    setInterval(() => this.tell(), 1000);
    addEventListener("pageshow", (event) => event.persisted && this.reconnect());
    addEventListener("online", () => this.reconnect());
  }

  connect() {
    const source = new EventSource(`/api/stream?after=${encodeURIComponent(this.last)}`);
    this.source = source;
    source.onopen = () => {
      this.open = true;
      this.wait_s = 1;
    };
    source.onerror = () => {
      this.open = false;
      this.tell();
      if (source.readyState === EventSource.CLOSED) this.later();
    };
    const on = (name, act) =>
      source.addEventListener(name, (event) => {
        if (source !== this.source) return;
        if (event.lastEventId) this.last = event.lastEventId;
        act(JSON.parse(event.data));
      });
    on("hello", (data) => {
      const anew = this.boot !== data.boot;
      this.boot = data.boot;
      this.pass("hello", { ...data, anew });
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
  }

  /** A refused stream (the server said no) is not tried again by the browser, so we do. */
  later() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.reconnect(), this.wait_s * 1000);
    this.wait_s = Math.min(LONGEST_WAIT_S, this.wait_s * 2);
  }

  reconnect() {
    clearTimeout(this.timer);
    this.source.close();
    this.connect();
  }

  tell() {
    const seconds = this.silent === null ? null : this.silent + (performance.now() - this.at) / 1000;
    const state = !this.open ? "lost" : seconds === null ? "none" : seconds < OLD_S ? "live" : "old";
    this.aged({ state, seconds });
  }
}
