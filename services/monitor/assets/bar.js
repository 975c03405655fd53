// The bar at the top of every page: navigation, the state of the feed, the theme, signing in.

import { $, fill, h, icon, say } from "./dom.js";
import { at } from "./place.js";
import { begin, session_button } from "./session.js";
import { span } from "./words.js";

const THEMES = ["", "light", "dark"];
const NAMES = { "": "the system's", light: "light", dark: "dark" };
const ICONS = { "": "auto", light: "sun", dark: "moon" };
const themed = [];

/** `act()` is called whenever the colours change. */
export function on_theme(act) {
  themed.push(act);
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => themed.forEach((act) => act()));

function theme_button() {
  const button = h("button", {
    type: "button",
    class: "tool",
    onclick: () => {
      const next = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme || "") + 1) % THEMES.length];
      if (next) document.documentElement.dataset.theme = next;
      else delete document.documentElement.dataset.theme;
      try {
        if (next) localStorage.setItem("tmatic-theme", next);
        else localStorage.removeItem("tmatic-theme");
      } catch {
        // storage is forbidden: the choice applies to this page only
      }
      draw();
      themed.forEach((act) => act());
    },
  });
  const draw = () => {
    const now = document.documentElement.dataset.theme || "";
    button.title = `Theme: ${NAMES[now]}`;
    button.setAttribute("aria-label", `Theme: ${NAMES[now]}. Change it`);
    fill(button, icon(ICONS[now]));
  };
  draw();
  return button;
}

const PLACES = [
  ["/", "Overview"],
  ["/#frontier", "Frontier"],
  ["/#workers", "Workers"],
  ["/#log", "Log"],
  ["/#dead", "Dead letters"],
  ["/inspect", "Inspect"],
];

let live = null;
let spoken = null;
let state_before = "";

/** Draw the bar. `current` is the path of the page; `with_live` whether it has a feed. */
export async function bar(current, with_live) {
  live = with_live ? h("span", { class: "live", dataset: { state: "none" } }, "connecting") : null;
  spoken = h("span", { class: "unseen", role: "status" });
  fill(
    $("bar"),
    h("a", { class: "brand", href: at("/") }, h("img", { src: at("/assets/mark.svg"), alt: "", width: "28", height: "28" }), "twittomatic"),
    h("nav", { "aria-label": "Pages" }, PLACES.map(([href, label]) => h("a", { href: at(href), "aria-current": href === current ? "page" : null }, label))),
    h("div", { class: "bar-tools" }, live, spoken, theme_button(), session_button()),
  );
  const here = $("bar").querySelector("[aria-current]");
  if (here) here.parentElement.scrollLeft = here.offsetLeft - 40;
  await begin();
}

/** Show the age of the feed. Only a change of its state is read out. */
export function show_age({ state, seconds }) {
  if (!live) return;
  const words = {
    live: "live",
    old: `last heard ${span(seconds)} ago`,
    lost: "connection lost, trying again",
    none: "nothing heard yet",
  }[state];
  live.dataset.state = state;
  say(live, words);
  if (state !== state_before) {
    if (state_before && state_before !== "none") say(spoken, state === "live" ? "The feed is live again" : words);
    state_before = state;
  }
}
