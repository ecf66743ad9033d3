/* A label as a small coloured tag, and the mark of what a person should look at. */

import { h } from "../core/dom.js";
import { defineLabel, findHue, findLabel, nameLabel } from "../core/labels.js";
import { t } from "../core/words.js";

export function makeTag(task, id, { short = false } = {}) {
  const label = findLabel(task, id);
  const name = nameLabel(label);
  return h("span", { class: "tag", "data-hue": findHue(task, label.group), title: short ? name : defineLabel(task, label) },
    short ? id : name);
}

export function makeReviewMark(key = "review.mark") {
  return h("span", { class: "mark", title: t("review.why") }, t(key));
}
