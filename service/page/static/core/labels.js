/* What the service serves: its tasks, their labels and models, asked for once. */

import { getJson, patiently } from "./api.js";
import { findLanguage, hasWords, t } from "./words.js";

let known = null;

/** Load labels and models; waits while the service starts. */
export async function loadTasks(onWait) {
  known ??= await patiently(async () => {
    const [labels, models] = await Promise.all([getJson("labels"), getJson("models")]);
    return join(labels.tasks, models.models);
  }, { onWait });
  return known;
}

/** Ask again, for a service that has come back may be another. */
export function forgetTasks() {
  known = null;
}

function join(labelSets, models) {
  return labelSets.map((set) => {
    const serving = models.filter((each) => each.tasks.some((task) => task.task === set.task));
    const model = serving.find((each) => each.tasks.some((task) => task.task === set.task && task.is_default));
    const others = serving.filter((each) => each !== model);
    const described = model.tasks.find((task) => task.task === set.task);
    const groups = [...new Set(set.labels.map((label) => label.group))];
    return { ...set, described, model, others, groups, ids: set.labels.map((label) => label.id) };
  });
}

/** A label of a task by its id. */
export function findLabel(task, id) {
  return task.labels.find((label) => label.id === id);
}

export function nameLabel(label, language = findLanguage()) {
  return language === "zh" ? label.name_zh : label.name_en;
}

/** The one-line definition; taxonomies of one's own have it in the language they were written in. */
export function defineLabel(task, label) {
  const key = `define.${task.task}.${label.id}`;
  return hasWords(key) ? t(key) : label.definition;
}

export function nameGroup(group) {
  const key = `group.${group}`;
  return hasWords(key) ? t(key) : group;
}

export function nameTask(task, language = findLanguage()) {
  const key = `task.${task.task}`;
  return hasWords(key) ? t(key, {}, language) : task.name;
}

const HUES = {
  initiation: "blue", response: "green", feedback: "amber", none: "grey",
  knowing: "blue", applying: "green", reasoning: "purple",
};
const ORDER = ["blue", "green", "amber", "purple", "teal", "rose"];

/** The colour of a group, the same everywhere. */
export function findHue(task, group) {
  return HUES[group] ?? ORDER[task.groups.indexOf(group) % ORDER.length];
}
