// The page of one account: its profile, how the crawl found it, what is stored, and the receipts.

import { $, choice, fill, h, icon } from "./dom.js";
import { bar } from "./bar.js";
import { at } from "./place.js";
import { post_card } from "./post.js";
import { ask, on_session } from "./session.js";
import { bytes, count, date, moment_of, of_letter, one_or_more, user_link, when } from "./words.js";

const PAGE = 50;
const own = at("/user/"); // a request to the monitor itself, and not to its proxy, may lack the prefix
const user = decodeURIComponent(location.pathname.slice((location.pathname.startsWith(own) ? own : "/user/").length));

document.title = `${user} · twittomatic`;
$("name").textContent = user;
let refused = false; // to a user who must sign in first
on_session((signed) => signed && refused && location.reload());
await bar("", false);
try {
  show(await ask(`/api/user?${new URLSearchParams({ id: user })}`));
} catch (error) {
  refused = error.status === 401;
  $("why").hidden = true;
  $("account-body").hidden = true;
  $("face").textContent = "?";
  $("handle").textContent = error.status === 404 ? "Nothing is known of this account: it was not visited, or not announced since this monitor listens." : `It cannot be shown: ${error.message}.`;
}

function show(card) {
  const profile = card.profile || {};
  const name = String(profile.name || profile.screen_name || user);
  $("name").textContent = name;
  document.title = `${name} · twittomatic`;
  const handle = [profile.screen_name ? `@${profile.screen_name}` : "", `id ${user}`, String(profile.location || ""), String(profile.lang || "")].filter(Boolean);
  $("handle").textContent = handle.join(" · ");
  $("bio").textContent = String(profile.description || (card.profile ? "" : "No profile of it is stored: its own posts or the analysis that found it would hold one."));
  $("face").textContent = (Array.from(name)[0] || "?").toUpperCase();
  $("face").style.background = tint(user);
  const born = moment_of(profile.created_at);
  const numbers = [
    ["followers", profile.followers_count],
    ["follows", profile.friends_count],
    ["posts", profile.statuses_count],
  ].filter(([, value]) => typeof value === "number");
  fill(
    $("numbers"),
    numbers.map(([label, value]) => h("div", {}, h("dt", {}, label), h("dd", {}, count(value)))),
    born === null ? null : h("div", {}, h("dt", {}, "since"), h("dd", {}, date(born))),
  );
  path(card);
  receipts(card.receipts);
  stored(card);
}

function tint(text) {
  let hash = 0;
  for (const char of text) hash = (hash * 31 + char.codePointAt(0)) % 360;
  return `linear-gradient(140deg, oklch(0.58 0.15 ${hash}), oklch(0.46 0.16 ${(hash + 50) % 360}))`;
}

function path(card) {
  const profile_name = String((card.profile && card.profile.screen_name) || "");
  const steps = card.path;
  const known = steps[steps.length - 1].depth !== null;
  $("why-words").textContent = known ? (steps.length === 1 ? "a target" : `found in ${one_or_more(steps.length - 1, "step", "steps")} from a target`) : "";
  if (!known) {
    fill($("path"), h("li", { class: "quiet" }, "Not told: no job of this account has ended since this monitor began to listen."));
    return;
  }
  fill(
    $("path"),
    steps.map((step, index) => {
      const last = index === steps.length - 1;
      const inside = [
        index === 0 && step.depth !== null ? icon("target") : null,
        h("span", {}, step.name || (last && profile_name) ? `@${step.name || profile_name}` : step.user),
        h("small", {}, index === 0 ? (step.depth === null ? "earlier" : "target") : `step ${step.depth}`),
      ].filter(Boolean);
      const hop = last ? h("span", { class: "hop", "aria-current": "true" }, inside) : h("a", { class: "hop", href: user_link(step.user) }, inside);
      return h("li", {}, hop, last ? null : icon("arrow"));
    }),
  );
}

function receipts(all) {
  const rows = Object.entries(all);
  fill(
    $("receipts"),
    rows.length
      ? rows.map(([letter, of]) => {
          const facts = [
            ["Received", of.expected === null ? count(of.received) : `${count(of.received)} of ${count(of.expected)} expected`],
            ["In the file", count(of.total)],
            ["Pages", count(of.pages)],
            ["Started", of.started ? stamp(of.started) : ""],
            ["Finished", of.finished ? stamp(of.finished) : ""],
            ["File", of.file ? `${of.file}, ${bytes(of.bytes)}` : "none"],
            ["Generation", String(of.generation)],
            ["Why", of.why],
          ].filter(([, value]) => value);
          return h(
            "article",
            { class: "card receipt" },
            h("div", { class: "receipt-head" }, h("span", { class: "letter", dataset: { op: letter } }, letter), h("h3", {}, of_letter(letter).title), h("span", { class: `pill ${of.outcome === "complete" ? "good" : "warn"}` }, of.outcome)),
            h("dl", {}, facts.map(([label, value]) => [h("dt", {}, label), h("dd", {}, value)]).flat()),
          );
        })
      : h("p", { class: "card empty" }, h("strong", {}, "No receipts"), "No job of this account has ended."),
  );
}

function stamp(text) {
  const at = moment_of(text);
  return at === null ? text : when(at);
}

function stored(card) {
  const kinds = [];
  if (card.kinds.includes("timeline")) kinds.push(["timeline", "Timeline"]);
  if (card.kinds.includes("followers")) kinds.push(["followers", "Followers"]);
  if (card.led_to_count) kinds.push(["led", `Found through it, ${count(card.led_to_count)}`]);
  if (!kinds.length) {
    $("kinds").hidden = true;
    fill($("rows"), h("p", { class: "empty" }, h("strong", {}, "Nothing is stored"), "The receipts say why, once a job has ended."));
    return;
  }
  const turn = (kind) => (kind === "led" ? led(card) : page(kind, 0));
  choice($("kinds"), kinds, kinds[0][0], turn);
  turn(kinds[0][0]);
}

function led(card) {
  fill($("rows"), h("div", { class: "ids" }, card.led_to.map((id) => h("a", { href: user_link(id) }, id))));
  fill($("pager"), card.led_to.length < card.led_to_count ? `the first ${count(card.led_to.length)}` : h("span"));
}

async function page(kind, first) {
  let found;
  const size = kind === "followers" ? 200 : PAGE;
  try {
    found = await ask(`/api/user/${kind}?${new URLSearchParams({ id: user, first, count: size })}`);
  } catch (error) {
    refused = error.status === 401;
    fill($("rows"), h("p", { class: "empty" }, h("strong", {}, "It cannot be read"), `${error.message}.`));
    return;
  }
  if (kind === "followers") fill($("rows"), h("div", { class: "ids" }, found.rows.map((id) => h("a", { href: user_link(id) }, id))));
  else fill($("rows"), h("ol", { class: "posts" }, found.rows.map((post) => post_card(post, { of: user }))));
  const turn = (to) => {
    page(kind, Math.max(0, to));
    $("kinds").scrollIntoView({ block: "nearest" });
  };
  fill(
    $("pager"),
    first || found.more
      ? [
          h("button", { type: "button", class: "button", disabled: first === 0, onclick: () => turn(first - size) }, "Before"),
          h("span", {}, `${count(first + 1)} to ${count(first + found.rows.length)}`),
          h("button", { type: "button", class: "button", disabled: !found.more, onclick: () => turn(first + size) }, "Further"),
        ]
      : h("span", {}, `${count(found.rows.length)} in all`),
  );
}
