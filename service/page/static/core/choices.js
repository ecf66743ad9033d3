/* What a person chose, remembered in this browser; where it may not store, for this visit. */

const PREFIX = "ncal.";
const visit = new Map();

export function recall(name) {
  try {
    return localStorage.getItem(PREFIX + name) ?? visit.get(name) ?? null;
  } catch {
    return visit.get(name) ?? null;
  }
}

export function remember(name, value) {
  visit.set(name, value);
  try {
    localStorage.setItem(PREFIX + name, value);
  } catch {
    // Storage is switched off: the choice lives as long as the page.
  }
}

const dark = matchMedia("(prefers-color-scheme: dark)");

/** "light" or "dark": the choice, else what the system prefers. */
export function findTheme() {
  return recall("theme") ?? (dark.matches ? "dark" : "light");
}

export function applyTheme() {
  document.documentElement.dataset.theme = findTheme();
}

export function switchTheme() {
  remember("theme", findTheme() === "dark" ? "light" : "dark");
  applyTheme();
}

dark.addEventListener("change", applyTheme);
