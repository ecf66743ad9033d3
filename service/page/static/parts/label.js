/* A label as a small coloured tag, and the mark of what a person should look at. */

import { h } from "../core/dom.js";
import { defineLabel, findHue, findLabel, nameLabel } from "../core/labels.js";
import { t } from "../core/words.js";

export function makeTag(task, id, { withId = false } = {}) {
  const label = findLabel(task, id);
  const name = nameLabel(label);
  return h("span", { class: "tag", "data-hue": findHue(task, label.group), title: defineLabel(task, label) },
    withId && id !== name ? `${id} ${name}` : name);
}

export function makeReviewMark() {
  return h("span", { class: "mark", title: t("review.why") }, t("review.mark"));
}
