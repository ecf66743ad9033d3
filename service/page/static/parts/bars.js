/* Probabilities as bars: a list that reads as text without its colours. */

import { h } from "../core/dom.js";
import { defineLabel, findHue, nameLabel } from "../core/labels.js";
import { percent } from "../core/words.js";

/** Bars of all labels, the most probable first; `probabilities` by label id. */
export function makeBars(task, probabilities) {
  const ranked = [...task.labels].sort((a, b) => probabilities[b.id] - probabilities[a.id]);
  return h("ul", { class: "bars" }, ranked.map((label, rank) => {
    const share = probabilities[label.id];
    return h("li", { class: rank === 0 && "best", "data-hue": findHue(task, label.group), title: defineLabel(task, label) },
      h("span", {}, nameLabel(label)),
      h("div", { class: "track", "aria-hidden": "true" }, h("div", { class: "fill", style: { width: percent(share, 1) } })),
      h("span", { class: "value" }, percent(share, share < 0.01 ? 1 : 0)));
  }));
}

/** Bars of named shares. */
export function makeShares(rows) {
  return h("ul", { class: "bars" }, rows.map(({ name, share, text, hue }) =>
    h("li", { "data-hue": hue },
      h("span", {}, name),
      h("div", { class: "track", "aria-hidden": "true" }, h("div", { class: "fill", style: { width: percent(share, 1) } })),
      h("span", { class: "value" }, text ?? percent(share)))));
}
