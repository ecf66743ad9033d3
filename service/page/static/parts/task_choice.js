/* Which of several taxonomies of one kind is asked. */

import { h } from "../core/dom.js";
import { nameTask } from "../core/labels.js";
import { t } from "../core/words.js";

/** A field to choose a task in; none where there is one only. */
export function makeTaskChoice(id, served, chosen, onChoose) {
  if (served.length < 2) return null;
  const select = h("select", { id, on: { change: () => onChoose(select.value) } },
    served.map((task) => h("option", { value: task.task, selected: task === chosen }, nameTask(task))));
  return h("div", { class: "field" }, h("label", { for: id }, t("problem.task")), select);
}
