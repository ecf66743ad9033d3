/* Requests to the service that this page came from, as any other client sends them. */

import { askForKey, makeKeyHeaders } from "./key.js";
import { hasWords, t } from "./words.js";

const LONGEST_WAIT_S = 300; // a quota of the day is not waited for

/** What went wrong; `slug` is the service's name for it, `unreachable` when nothing answered. */
export class RequestError extends Error {
  constructor(status, document, retryAfterS) {
    super(document.detail ?? document.title ?? "unreachable");
    this.status = status;
    this.slug = (document.type ?? "unreachable").split(":").pop();
    this.reasons = document.errors ?? [];
    this.retryAfterS = retryAfterS;
  }

  /** Whether the same request may succeed while somebody waits for it. */
  get passes() {
    return [0, 429, 502, 503, 504].includes(this.status) && (this.retryAfterS ?? 0) <= LONGEST_WAIT_S;
  }
}

/** A sentence for the person, in their language. */
export function explain(error) {
  if (!(error instanceof RequestError)) throw error;
  const key = `error.${error.slug}`;
  const reasons = error.reasons.map((each) => `${each.field}: ${each.reason}`).join("; ");
  const told = hasWords(key) ? t(key) : t("error.other", { status: error.status });
  const detail = reasons || (TELLING.has(error.slug) ? error.message : "");
  return detail ? `${told} (${detail})` : told;
}
const TELLING = new Set(["invalid-input", "unsupported-media-type", "body-too-large", "forbidden", "rate-limited"]);

/** Send a request and return the Response; asks for a key where one is wanted. */
export async function send(path, { method = "GET", json, form, signal } = {}) {
  const headers = { ...makeKeyHeaders() };
  if (json !== undefined) headers["content-type"] = "application/json";
  const body = json !== undefined ? JSON.stringify(json) : form;
  let response;
  try {
    response = await fetch(new URL(path, document.baseURI), { method, headers, body, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new RequestError(0, {}, null);
  }
  if (response.ok) return response;
  if (response.status === 401 && (await askForKey())) return send(path, { method, json, form, signal });
  throw await readError(response);
}

export async function getJson(path, options) {
  return (await send(path, options)).json();
}

export async function postJson(path, json, options = {}) {
  return getJson(path, { ...options, method: "POST", json });
}

/** Ask until it is answered or the error is one that does not pass; tells of each wait.

    `onWait` gets the error and the seconds; `mostTries` bounds how often, by default never. */
export async function patiently(ask, { signal, onWait = () => {}, mostTries = Infinity } = {}) {
  for (let tries = 1; ; tries += 1) {
    try {
      return await ask();
    } catch (error) {
      if (!(error instanceof RequestError) || !error.passes || tries >= mostTries) throw error;
      const waitS = error.retryAfterS ?? Math.min(5, 0.5 * tries);
      onWait(error, waitS);
      await pause(1000 * waitS, signal);
    }
  }
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("stopped", "AbortError"));
    }, { once: true });
  });
}

async function readError(response) {
  const seconds = Number(response.headers.get("retry-after"));
  let told = {};
  try {
    told = await response.json();
  } catch {
    // Something between here and the service has answered in its own way.
  }
  return new RequestError(response.status, told, seconds > 0 ? seconds : null);
}
