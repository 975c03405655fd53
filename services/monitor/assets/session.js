// Signing in: the token is in the fragment of the address or from the form, and sent to the server once.

import { $, fill, h, icon, say } from "./dom.js";
import { at } from "./place.js";

let csrf = "";
const listeners = [];

export const signed_in = () => csrf !== "";
export const on_session = (act) => listeners.push(act);

function known(value) {
  csrf = value;
  tell("");
  for (const act of listeners) act(signed_in());
}

let notice = null;

/** Show an error of signing in or out in its own element; "" removes it. */
function tell(words) {
  if (!notice) {
    if (!words) return;
    notice = h("div", { class: "notice", id: "session-notice", role: "alert" });
    $("main").prepend(notice);
  }
  notice.hidden = !words;
  say(notice, words);
}

/** Request JSON. Throws an Error with the server's message. */
export async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(at(path), { ...options, headers: { Accept: "application/json", ...options.headers }, credentials: "same-origin" });
  } catch {
    throw new Error("the monitor cannot be reached");
  }
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    if (answer.status === 401) {
      if (signed_in()) known("");
      open_form();
    }
    const error = new Error(body.error || `the monitor answered ${answer.status}`);
    error.status = answer.status;
    throw error;
  }
  return body;
}

/** An action of the signed-in user. Throws an Error with the server's message. */
export async function act(path, body) {
  const send = () => ask(path, { method: "POST", headers: { "Content-Type": "application/json", "X-Tmatic-Csrf": csrf }, body: JSON.stringify(body) });
  try {
    return await send();
  } catch (error) {
    if (error.status !== 403) throw error;
    await recall();
    if (!(await ensure())) throw error;
    return send();
  }
}

/** Reload the session: the monitor was restarted, or another tab has signed in since. False if there is no answer. */
export async function recall() {
  try {
    known((await ask("/api/session")).csrf);
    return true;
  } catch {
    return false;
  }
}

async function sign_in(token) {
  const answer = await ask("/api/session", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ token }),
  });
  known(answer.csrf);
}

async function sign_out() {
  const send = () => ask("/api/session", { method: "DELETE", headers: { "X-Tmatic-Csrf": csrf } });
  try {
    await send().catch(async (error) => {
      if (error.status !== 403) throw error;
      await recall();
      if (signed_in()) await send();
    });
    known("");
  } catch (error) {
    tell(`Not signed out: ${error.message}.`);
  }
}

let dialog = null;
on_session((signed) => signed && dialog && dialog.box.close());

/** The form for the token. Resolves to whether the user signed in. */
export function open_form() {
  if (dialog) return dialog.done;
  const input = h("input", { type: "password", id: "token", autocomplete: "off", required: true, spellcheck: "false" });
  const words = h("p", { class: "late", role: "alert" });
  const form = h(
    "form",
    {
      class: "dialog-body",
      onsubmit: async (event) => {
        event.preventDefault();
        try {
          await sign_in(input.value.trim());
        } catch (error) {
          words.textContent = `${error.message}.`;
          input.select();
        }
      },
    },
    h("p", { class: "quiet" }, "Requeuing and dropping jobs needs the token. It is in the line that tmatic-monitor printed when it started, behind #token=."),
    h("p", {}),
    h("label", { class: "field" }, "Token", input),
    words,
    h("div", { class: "dialog-actions" }, h("button", { type: "button", class: "button", onclick: () => box.close() }, "Cancel"), h("button", { class: "button main" }, "Sign in")),
  );
  const box = h("dialog", { "aria-labelledby": "token-title" }, h("div", { class: "dialog-head" }, h("h2", { id: "token-title" }, "Sign in")), form);
  document.body.append(box);
  box.showModal();
  input.focus();
  const done = new Promise((resolve) =>
    box.addEventListener("close", () => {
      box.remove();
      dialog = null;
      resolve(signed_in());
    }),
  );
  dialog = { box, done };
  return done;
}

/** True once the user is signed in; asks for the token otherwise. */
export const ensure = async () => signed_in() || open_form();

/** The button in the bar. */
export function session_button() {
  const button = h("button", { type: "button", class: "tool", onclick: () => (signed_in() ? sign_out() : open_form()) });
  const draw = (signed) => {
    const label = signed ? "Signed in: sign out" : "Sign in";
    button.title = label;
    button.setAttribute("aria-label", label);
    fill(button, icon(signed ? "unlock" : "lock"));
  };
  draw(false);
  on_session(draw);
  return button;
}

/** Load the session; a token in the fragment is used and removed from the address at once. */
export async function begin() {
  if (!(await use_token())) await recall();
}

/** Whether there was a token in the fragment. */
async function use_token() {
  const found = /(?:^#|&)token=([\w-]+)/.exec(location.hash);
  if (!found) return false;
  history.replaceState(null, "", location.pathname + location.search);
  try {
    await sign_in(found[1]);
  } catch (error) {
    await recall(); // an earlier session may still be valid
    tell(`Not signed in: ${error.message}.`);
  }
  return true;
}

addEventListener("hashchange", use_token);
