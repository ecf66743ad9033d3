/* The annotated transcript: every turn with its label, its probability and its mark. */

import { h, put } from "../core/dom.js";
import { findHue, findLabel } from "../core/labels.js";
import { percent, t } from "../core/words.js";
import { makeBars } from "./bars.js";
import { makeReviewMark, makeTag } from "./label.js";

/** The turns as a list; `turn` has speaker, text and what is known of its label. */
export function makeTranscript(task, turns) {
  return h("ol", { class: "turns" }, turns.map((turn, index) => fillTurn(h("li", { id: `turn-${index + 1}` }), task, turn, index)));
}

/** Draw one turn into its list item, again when its label has changed. */
export function fillTurn(item, task, turn, index) {
  const answer = turn.prediction;
  item.className = `turn ${turn.speaker}${answer && !turn.final ? " provisional" : ""}`;
  if (answer) item.dataset.hue = findHue(task, findLabel(task, answer.label).group);
  return put(item,
    h("div", { class: "who" },
      h("span", { class: "number" }, String(index + 1)),
      h("span", {}, turn.name || t(`speaker.${turn.speaker}`)),
      answer && [
        makeTag(task, answer.label),
        h("span", { class: "number" }, percent(answer.confidence)),
        answer.needs_review && makeReviewMark(),
        !turn.final && h("span", { class: "pending" }, t("live.provisional")),
      ],
      !answer && !turn.error && h("span", { class: "pending" }, "…"),
      turn.error && h("span", { class: "mark" }, turn.error)),
    h("p", { class: "said", lang: "zh-CN" }, turn.text),
    answer && h("details", {}, h("summary", {}, t("dialogue.probabilities")), makeBars(task, answer.probabilities)));
}
