// Builds elements. Texts become text nodes and nothing else, so no name, post or line of a log can inject anything.

import { at } from "./place.js";

const SVG = "http://www.w3.org/2000/svg";

/** An element. `props`: class, text, dataset, on… functions, booleans, and attributes; `children`: nodes and texts. */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  apply(element, props);
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

function apply(element, props) {
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") element.setAttribute("class", value);
    else if (name === "text") element.textContent = value;
    else if (name === "dataset") Object.assign(element.dataset, value);
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
}

/** An SVG element. */
export function s(tag, props = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  apply(element, props);
  element.append(...children);
  return element;
}

/** An icon from icons.svg; it is hidden from screen readers. */
export function icon(name) {
  return s("svg", { class: "icon", "aria-hidden": "true" }, s("use", { href: at(`/assets/icons.svg#${name}`) }));
}

export const $ = (id) => document.getElementById(id);

/** Set a text only if it changes, so that nothing is drawn or read out needlessly. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Replace the children. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
}

/** A row of buttons of which one is pressed. `options`: [value, label]; `chosen(value)` is called on a choice. */
export function choice(group, options, value, chosen) {
  const buttons = options.map(([of, label]) =>
    h("button", { type: "button", "aria-pressed": String(of === value), dataset: { value: of }, onclick: () => choose(of) }, label),
  );
  const choose = (of) => {
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.value === String(of)));
    chosen(of);
  };
  fill(group, buttons);
  return choose;
}

/** The colour that a custom property has now, as the canvas understands it: of lines and letters, which follow a system
 * that has colours of its own. */
export const colour = (name) => probed(name, "unseen");

/** The same of what tells by its colour alone: it stays what it is under any system's colours. */
export const kept_colour = (name) => probed(name, "unseen kept-colour");

function probed(name, looks) {
  const probe = h("span", { class: looks });
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

export const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
