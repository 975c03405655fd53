// A post, as a card in a list and in full.

import { h, icon } from "./dom.js";
import { ask } from "./session.js";
import { moment_of, user_link, utc_when } from "./words.js";

/** The contents of a post, of whichever service. */
export function read(post) {
  const user = post.user && typeof post.user === "object" ? post.user : {};
  const author = typeof post.user === "string" || typeof post.user === "number" ? String(post.user) : String(user.id_str || user.id || post.user_id || "");
  const point = post.geo && Array.isArray(post.geo.coordinates) ? post.geo.coordinates : [post.latitude, post.longitude];
  return {
    id: String(post.id_str || post.id || post.uri || ""),
    author,
    name: String(post.screen_name || user.screen_name || author || "unknown"),
    text: whole_text(post),
    at: moment_of(post.created_s ?? post.created_at),
    language: String(post.language || post.lang || ""),
    tags: all_tags(post).slice(0, 12),
    place: String(post.place && typeof post.place === "object" ? post.place.full_name || "" : post.place || ""),
    point: typeof point[0] === "number" && typeof point[1] === "number" ? point : null,
  };
}

/** The hashtags of a post, and of the post that it reposts or quotes, each once. */
function all_tags(post) {
  const original = post.retweeted_status;
  const places = [post, original, (original || post).quoted_status].filter((one) => one && typeof one === "object");
  const lists = places.flatMap((one) => [one.hashtags, one.extended_tweet && one.extended_tweet.entities && one.extended_tweet.entities.hashtags, one.entities && one.entities.hashtags]);
  const tags = lists.filter(Array.isArray).flat().map((tag) => String(tag && typeof tag === "object" ? tag.text || "" : tag));
  return [...new Map(tags.filter(Boolean).map((tag) => [tag.toLowerCase(), tag])).values()];
}

/** The whole text: of a repost what it reposts, of a quote what it quotes too. */
function whole_text(post) {
  const said = (one) => String((one && ((one.extended_tweet && one.extended_tweet.full_text) || one.full_text || one.text)) || "");
  const text = said(post);
  const original = post.retweeted_status;
  const whole = said(original) ? `${(text.match(/^RT @[^\s:]+: /) || [""])[0]}${said(original)}` : text;
  const quoted = (original || post).quoted_status;
  return said(quoted) ? `${whole}\nQT @${(quoted.user && quoted.user.screen_name) || ""}: ${said(quoted)}` : whole;
}

/** A card. `options`: wanted (words to mark), tag(name) when a hashtag is chosen, of (the account whose timeline it is). */
export function post_card(post, { wanted = [], tag = null, of = "" } = {}) {
  const seen = read(post);
  const author = seen.author || of;
  return h(
    "li",
    { class: "post" },
    h("div", { class: "post-head" }, author && !of ? h("a", { href: user_link(author) }, `@${seen.name}`) : h("span", { class: "quiet mono" }, seen.id), seen.at === null ? null : h("time", { datetime: new Date(seen.at * 1000).toISOString() }, utc_when(seen.at))),
    h("p", { class: "post-text", dir: "auto" }, marked(seen.text, wanted)),
    h(
      "div",
      { class: "post-foot" },
      seen.tags.map((name) => (tag ? h("button", { type: "button", class: "tag", onclick: () => tag(name) }, `#${name}`) : h("span", {}, `#${name}`))),
      seen.language ? h("span", {}, seen.language) : null,
      seen.place || seen.point ? h("span", {}, icon("place"), seen.place || `${seen.point[0].toFixed(2)}, ${seen.point[1].toFixed(2)}`) : null,
      h("button", { type: "button", class: "open", "aria-label": `Open post ${seen.id} in full`, onclick: () => open_post(seen.id, author, of) }, "In full"),
    ),
  );
}

/** Show a post in full, as the service sent it. */
export async function open_post(id, author, of) {
  const body = h("div", { class: "dialog-body" }, h("p", { class: "quiet" }, "Loading …"));
  const close = h("button", { type: "button", class: "tool", "aria-label": "Close" }, icon("close"));
  const box = h("dialog", { class: "drawer", "aria-labelledby": "post-title" }, h("div", { class: "dialog-head" }, h("h2", { id: "post-title" }, `Post ${id}`), close), body);
  close.addEventListener("click", () => box.close());
  box.addEventListener("click", (event) => event.target === box && box.close());
  box.addEventListener("close", () => box.remove());
  document.body.append(box);
  box.showModal();
  try {
    const asked = new URLSearchParams(of ? { id, user: of } : { id });
    const { post, line } = await ask(`/api/post?${asked}`);
    const seen = read(post);
    body.replaceChildren(
      h("p", { class: "post-text", dir: "auto" }, seen.text),
      h("p", { class: "quiet" }, [seen.at === null ? "" : utc_when(seen.at), seen.language, seen.place].filter(Boolean).join(" · ")),
      h("p", {}, author ? h("a", { href: user_link(author) }, `Account ${author}`) : ""),
      h("h3", { class: "source" }, "As it was stored"),
      h("pre", { tabindex: "0", "aria-label": "The post as JSON" }, laid_out(line)),
    );
  } catch (error) {
    body.replaceChildren(h("p", {}, `It cannot be shown: ${error.message}.`));
  }
}

/** A line of JSON with breaks and indents between its parts. The parts stay as they were stored, numbers of any length too. */
export function laid_out(line) {
  let depth = 0;
  let text = "";
  let before = "";
  for (const [part] of line.matchAll(/"(?:[^"\\]+|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g)) {
    const closing = part === "}" || part === "]";
    if (closing) depth -= 1;
    const opened = before === "{" || before === "[";
    if (closing ? !opened : opened || before === ",") text += `\n${"  ".repeat(Math.min(depth, 40))}`;
    text += part === ":" ? ": " : part;
    if (part === "{" || part === "[") depth += 1;
    before = part;
  }
  return text;
}

/** The text with these words marked in it. */
function marked(text, wanted) {
  const words = wanted.filter((word) => word.length > 1);
  if (!words.length) return [text];
  const low = text.toLowerCase();
  const parts = [];
  let from = 0;
  while (from < text.length && parts.length < 60) {
    const hits = words.map((word) => [low.indexOf(word, from), word]).filter(([at]) => at >= 0);
    if (!hits.length) break;
    const [at, word] = hits.reduce((a, b) => (a[0] <= b[0] ? a : b));
    parts.push(text.slice(from, at), h("mark", {}, text.slice(at, at + word.length)));
    from = at + word.length;
  }
  parts.push(text.slice(from));
  return parts;
}
