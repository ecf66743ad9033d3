/* Every word of the page, in the language that was chosen. */

import en from "../words/en.js";
import zh from "../words/zh.js";
import { recall, remember } from "./choices.js";

const DICTIONARIES = { en, zh };

/** "en" or "zh": the choice, else the browser's first language. */
export function findLanguage() {
  const chosen = recall("language");
  if (chosen in DICTIONARIES) return chosen;
  return (navigator.language ?? "").toLowerCase().startsWith("zh") ? "zh" : "en";
}

export function chooseLanguage(language) {
  remember("language", language);
  applyLanguage();
}

export function applyLanguage() {
  document.documentElement.lang = findLanguage() === "zh" ? "zh-CN" : "en";
}

/** The words of a key, with {names} filled in. */
export function t(key, values = {}, language = findLanguage()) {
  const words = DICTIONARIES[language][key];
  if (words === undefined) throw new Error(`the dictionary ${language} has no ${key}`);
  return words.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

export function hasWords(key) {
  return key in en;
}

/** 0.8199 → 82% */
export function percent(share, digits = 0) {
  return `${(100 * share).toFixed(digits)}%`;
}

/** 20000 → 20,000 */
export function count(number) {
  return Math.round(number).toLocaleString("en");
}
