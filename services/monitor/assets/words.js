// Formats numbers, times and names for people.

import { at } from "./place.js";

const whole = new Intl.NumberFormat("en-GB");
const short = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });

/** 12,345. */
export const count = (value) => whole.format(Math.round(value || 0));

/** 12.3K from ten thousand on. */
export const compact = (value) => (Math.abs(value || 0) < 10000 ? count(value) : short.format(value));

/** A rate: 0.4, 12.5, 1,234. */
export function rate(value) {
  if (value === null || value === undefined) return "–";
  if (value >= 100) return count(value);
  return value === 0 ? "0" : value.toFixed(1);
}

/** The labels of an axis: with as many decimals as distinguish one from the next. */
export function ticks(values, form) {
  const step = Math.abs(values[1] - values[0]);
  if (!(step > 0) || Number.isInteger(step)) return values.map(form);
  const decimals = [1, 2, 3, 4].find((places) => Math.abs(step * 10 ** places - Math.round(step * 10 ** places)) < 1e-6) || 5;
  return values.map((value) => (value ? value.toFixed(decimals) : "0"));
}

/** 45 s, 12 min, 3 h 10 min, 4 d 2 h. */
export function span(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const of = Math.max(0, Math.round(seconds));
  if (of < 90) return `${of} s`;
  const minutes = Math.round(of / 60);
  if (minutes < 90) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 36) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  const days = Math.floor(hours / 24);
  return hours % 24 && days < 14 ? `${days} d ${hours % 24} h` : `${days} d`;
}

/** 20 – 35 min: two times in one unit. */
export function stretch(low, high) {
  const [unit, size] = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]].find(([, of]) => high >= 1.5 * of) || ["s", 1];
  const form = (value) => (value / size < 10 && size > 60 ? (value / size).toFixed(1).replace(/\.0$/, "") : String(Math.round(value / size)));
  return form(low) === form(high) ? `${form(high)} ${unit}` : `${form(low)} – ${form(high)} ${unit}`;
}

/** 3 s ago, or "now". */
export const ago = (seconds) => (seconds < 2 ? "now" : `${span(seconds)} ago`);

export const bytes = (value) => {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let of = value || 0;
  let unit = 0;
  while (of >= 1024 && unit < units.length - 1) {
    of /= 1024;
    unit += 1;
  }
  return `${unit && of < 100 ? of.toFixed(1) : Math.round(of)} ${units[unit]}`;
};

const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });
const moment = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit" });

export const time = (unix) => clock.format(unix * 1000);
export const date = (unix) => day.format(unix * 1000);
export const when = (unix) => moment.format(unix * 1000);

const utc_day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric", timeZone: "UTC" });
const utc_moment = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", timeZone: "UTC" });

/** Posts are searched and counted in UTC, so they are shown in it. */
export const utc_date = (unix) => utc_day.format(unix * 1000);
export const utc_when = (unix) => `${utc_moment.format(unix * 1000)} UTC`;

const LATEST = 8.64e12; // seconds; a browser's calendar ends there

/** Unix seconds of a time as a service or a receipt writes it, null when it cannot be parsed. */
export function moment_of(text) {
  if (typeof text === "number") return Math.abs(text) <= LATEST ? text : null;
  const read = Date.parse(text || "");
  return Number.isNaN(read) ? null : read / 1000;
}

export const one_or_more = (number, one, more) => `${count(number)} ${Math.round(number) === 1 ? one : more}`;

/** The operations: their name in the document, their letter, their name for people, and their records. */
export const OPERATIONS = [
  { name: "timeline", letter: "T", title: "Timelines", brings: "posts" },
  { name: "follower", letter: "F", title: "Followers", brings: "followers" },
  { name: "analyzer", letter: "A", title: "Analyses", brings: "profiles" },
  { name: "update", letter: "U", title: "Updates", brings: "posts" },
];
export const of_letter = (letter) => OPERATIONS.find((one) => one.letter === letter) || { name: "", letter, title: letter, brings: "" };

export const user_link = (user) => at(`/user/${encodeURIComponent(user)}`);
