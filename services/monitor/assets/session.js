// Signing in: the token comes behind the # of the address or from the form, and goes to the server once.

import { $, fill, h, icon } from "./dom.js";

let csrf = "";
const listeners = [];

export const signed_in = () => csrf !== "";
export const on_session = (act) => listeners.push(act);

function known(value) {
  csrf = value;
  for (const act of listeners) act(signed_in());
}

/** Ask for JSON. Raises an Error with the server's sentence. */
export async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { ...options, headers: { Accept: "application/json", ...options.headers }, credentials: "same-origin" });
  } catch {
    throw new Error("the monitor cannot be reached");
  }
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    if (answer.status === 401) open_form();
    const error = new Error(body.error || `the monitor answered ${answer.status}`);
    error.status = answer.status;
    throw error;
  }
  return body;
}

/** An action: signed in first if need be. Raises an Error with the server's sentence. */
export async function act(path, body) {
  return ask(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Tmatic-Csrf": csrf },
    body: JSON.stringify(body),
  });
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
  await ask("/api/session", { method: "DELETE", headers: { "X-Tmatic-Csrf": csrf } });
  known("");
}

let dialog = null;

/** The form that asks for the token. Resolves to whether somebody signed in. */
export function open_form() {
  if (dialog) return dialog.done;
  const input = h("input", { type: "password", id: "token", autocomplete: "off", required: true, spellcheck: "false" });
  const words = h("p", { class: "late", role: "alert" });
  let signed = false;
  const form = h(
    "form",
    {
      class: "dialog-body",
      onsubmit: async (event) => {
        event.preventDefault();
        try {
          await sign_in(input.value.trim());
          signed = true;
          box.close();
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
      resolve(signed);
    }),
  );
  dialog = { done };
  return done;
}

/** True once somebody is signed in; asks for the token when nobody is. */
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

/** Who we are; a token behind the # is used and taken out of the address at once. */
export async function begin() {
  const found = /(?:^#|&)token=([\w-]+)/.exec(location.hash);
  try {
    if (found) {
      history.replaceState(null, "", location.pathname + location.search);
      await sign_in(found[1]);
    } else {
      known((await ask("/api/session")).csrf);
    }
  } catch (error) {
    const notice = $("notice");
    if (found && notice) {
      notice.hidden = false;
      notice.textContent = `Not signed in: ${error.message}.`;
    }
  }
}
