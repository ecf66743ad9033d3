/* The API key: asked for where the service wants one, kept for this tab, sent in headers only. */

import { h } from "./dom.js";
import { t } from "./words.js";

const NAME = "ncal.key";
let held = "";
let asking = null;

export function findKey() {
  try {
    return sessionStorage.getItem(NAME) ?? held;
  } catch {
    return held;
  }
}

function keepKey(key) {
  held = key;
  try {
    sessionStorage.setItem(NAME, key);
  } catch {
    // Kept in memory: the key is asked for again after a reload.
  }
}

/** Headers that say who asks. */
export function makeKeyHeaders() {
  const key = findKey();
  return key ? { authorization: `Bearer ${key}` } : {};
}

/** Sub-protocols of a WebSocket: a browser can say the key there, and in no header. */
export function makeProtocols() {
  const key = findKey();
  if (!key) return ["ncal.live.1"];
  const bytes = String.fromCharCode(...new TextEncoder().encode(key));
  const text = btoa(bytes).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  return ["ncal.live.1", `ncal.key.${text}`];
}

/** Ask for a key; false when the person would rather not give one. One dialog at a time. */
export function askForKey() {
  asking ??= openDialog().finally(() => {
    asking = null;
  });
  return asking;
}

function openDialog() {
  return new Promise((resolve) => {
    const input = h("input", {
      id: "api-key", type: "password", autocomplete: "off", spellcheck: "false", required: true,
    });
    const form = h("form", { on: { submit: (event) => {
      event.preventDefault();
      if (!input.value.trim()) return;
      keepKey(input.value.trim());
      close(true);
    } } },
      h("h2", { id: "key-title" }, t("key.title")),
      h("p", {}, findKey() ? t("key.wrong") : t("key.why")),
      h("label", { for: "api-key" }, t("key.label")),
      input,
      h("div", { class: "actions" },
        h("button", { type: "submit", class: "primary" }, t("key.use")),
        h("button", { type: "button", on: { click: () => close(false) } }, t("key.cancel"))));
    const dialog = h("dialog", { "aria-labelledby": "key-title", class: "key" }, form);
    const close = (given) => {
      dialog.remove();
      resolve(given);
    };
    dialog.addEventListener("cancel", () => close(false));
    document.body.append(dialog);
    dialog.showModal();
    input.focus();
  });
}
