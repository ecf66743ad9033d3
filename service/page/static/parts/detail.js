/* The chosen row in full, with a button for each label: a click or its number corrects. */

import { h, put } from "../core/dom.js";
import { NO_TEXT } from "../core/labelling.js";
import { defineLabel, findHue, nameLabel } from "../core/labels.js";
import { t } from "../core/words.js";
import { makeBars } from "./bars.js";
import { makeReviewMark } from "./label.js";

/** Draw the row into its card; `onCorrect(id or null)`. */
export function drawDetail(card, review, row, onCorrect) {
  if (row === null) return put(card, h("p", { class: "empty" }, t("file.norow")));
  const { task } = review;
  const answer = review.answers[row];
  const item = review.labelling.items[row];
  const now = review.labelOf(row);
  return put(card,
    h("h2", {}, t("file.row", { number: row + 1 }), " ", review.isDoubtful(row) && makeReviewMark()),
    item?.previous?.map((turn) => makeNeighbour(turn)),
    h("p", { class: "said", lang: "zh-CN" }, item?.speaker ? `${t(`speaker.${item.speaker}`)}：` : "", review.texts[row]),
    item?.following?.map((turn) => makeNeighbour(turn)),
    answer ? [
      h("p", { class: "note", id: "choose-label" }, t("file.correct")),
      h("div", { class: "choices", role: "group", "aria-labelledby": "choose-label" }, task.labels.map((label, index) => h("button", {
        type: "button", "aria-pressed": String(label.id === now), "data-hue": findHue(task, label.group), title: defineLabel(task, label),
        on: { click: () => onCorrect(label.id) },
      }, index < 9 && h("kbd", {}, String(index + 1)), nameLabel(label)))),
      review.corrections.has(row) && h("p", { class: "actions" }, t("file.checked"),
        h("button", { type: "button", class: "small", on: { click: () => onCorrect(null) } }, t("file.undo"))),
      makeBars(task, Object.fromEntries(task.ids.map((id, k) => [id, answer.probabilities[k]]))),
    ] : h("p", { class: "notice warn" }, review.labelling.results[row]?.error === NO_TEXT ? t("file.notext")
      : review.labelling.results[row]?.error ?? t("file.pending")));
}

function makeNeighbour(turn) {
  return h("p", { class: "quiet", lang: "zh-CN" }, `${t(`speaker.${turn.speaker}`)}：${turn.text}`);
}
