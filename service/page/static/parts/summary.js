/* Numbers of a labelled file, its downloads, and the paragraph for a paper. */

import { explain, RequestError } from "../core/api.js";
import { h, put } from "../core/dom.js";
import { makeColumns, makeCorrections } from "../core/export.js";
import { renameFile, save, writeLabelled, writeRows } from "../core/files.js";
import { findHue, findLabel, nameLabel } from "../core/labels.js";
import { writeMethods } from "../core/methods.js";
import { count, findLanguage, percent, t } from "../core/words.js";
import { makeShares } from "./bars.js";

/** Draw the counts by label and, if the file had labels, how far they agree. */
export function drawSummary(card, review) {
  const { counts, labelled, doubtful, failed, checked, agreement } = review.summarize();
  const fact = (name, value) => h("div", {}, h("dt", {}, name), h("dd", { class: "big" }, value));
  return put(card,
    h("h2", {}, t("file.summary")),
    h("dl", { class: "figures" },
      fact(t("file.labelled"), count(labelled)), fact(t("file.doubtful"), count(doubtful)), fact(t("file.checked.number"), count(checked)),
      failed > 0 && fact(t("file.failed"), count(failed)),
      agreement && [fact(t("file.agreement"), percent(agreement.share)),
        agreement.kappa !== null && fact(t("model.kappa"), agreement.kappa.toFixed(2))]),
    agreement && h("p", { class: "note" }, t("file.agreement.note", { items: count(agreement.items) })),
    review.unknown > 0 && h("p", { class: "notice warn" }, t("file.unknown", { number: count(review.unknown) })),
    makeShares(review.task.ids.map((id) => {
      const label = findLabel(review.task, id);
      return { name: nameLabel(label), share: labelled ? counts[id] / labelled : 0, text: count(counts[id]), hue: findHue(review.task, label.group) };
    })));
}

/** The card with what can be taken away; `state` has file and read. */
export function makeDownloads(state, review) {
  const told = h("div", { role: "status" });
  const methods = h("div");
  const fetchFile = async (button, make) => {
    button.disabled = true;
    put(told, h("p", { class: "note" }, t("file.writing")));
    try {
      const [blob, name] = await make();
      save(blob, name);
      put(told, h("p", { class: "note" }, t("file.saved", { name })));
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      put(told, h("p", { class: "notice bad" }, explain(error)));
    }
    button.disabled = false;
  };
  const button = (id, key, make) => h("button", { type: "button", id, on: { click: (event) => fetchFile(event.target, make) } }, t(key));
  return h("section", { class: "card" },
    h("h2", {}, t("file.downloads")),
    h("div", { class: "actions" },
      button("download", "file.download", async () => {
        const { names, rows } = makeColumns(review);
        return [await writeLabelled(state.file, state.read, names, rows), renameFile(state.file.name, "labelled")];
      }),
      button("download-corrections", "file.download.corrections", async () => {
        const { base, names, rows } = makeCorrections(review);
        const format = state.read.format === "transcript" ? "csv" : state.read.format;
        const name = renameFile(state.file.name, "corrections");
        return [await writeRows(format, base, names, rows), format === state.read.format ? name : name.replace(/\.[^.]*$/, ".csv")];
      }),
      h("button", { type: "button", id: "methods", on: { click: () => drawMethods(methods, review, findLanguage()) } }, t("file.methods"))),
    h("p", { class: "note" }, t("file.downloads.note")),
    told, methods);
}

function drawMethods(place, review, language) {
  const text = writeMethods(review, language);
  const other = language === "zh" ? "en" : "zh";
  const copied = h("span", { role: "status" });
  put(place,
    h("h3", {}, t("file.methods.title")),
    h("p", { class: "methods", id: "methods-text", lang: language === "zh" ? "zh-CN" : "en" }, text),
    h("div", { class: "actions" },
      h("button", { type: "button", class: "primary", on: { click: async () => {
        try {
          await navigator.clipboard.writeText(text);
          copied.textContent = t("file.copied");
        } catch {
          getSelection().selectAllChildren(place.querySelector("#methods-text"));
          copied.textContent = t("file.copy.failed");
        }
      } } }, t("file.copy")),
      h("button", { type: "button", id: "methods-language", on: { click: () => {
        drawMethods(place, review, other);
        place.querySelector("#methods-language").focus();
      } } }, t(`language.${other}`)), copied));
}
