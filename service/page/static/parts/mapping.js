/* The first rows of a file, and which column is what. */

import { h, put } from "../core/dom.js";
import { nameTask } from "../core/labels.js";
import { findColumn, findRoles } from "../core/sheet.js";
import { count, t } from "../core/words.js";
import { makePriorSwitch } from "./prior.js";

const SHOWN = 5;
const MOST_NAMES = 30;

/** The card between choosing a file and labelling it. `state` has file, read, mapping, roles,
    task and prior; `onSheet`, `onStart`, `onOther` are what its buttons do. */
export function makeMappingCard(state, tasks, { onSheet, onStart, onOther }) {
  const card = h("section", { class: "card", id: "mapping", "aria-label": t("file.mapping") });
  const draw = (focused) => {
    put(card, makeContent(state, tasks, { onSheet, onStart, onOther, draw }));
    if (focused) document.getElementById(focused)?.focus();
  };
  draw();
  return card;
}

function makeContent(state, tasks, { onSheet, onStart, onOther, draw }) {
  const { read, mapping } = state;
  const isTurns = mapping.kind === "turns";
  const kinds = { problems: "problem", turns: "dialogue-turn" };
  const fitting = tasks.filter((task) => task.kind === kinds[mapping.kind]);
  if (!fitting.includes(state.task)) state.task = fitting[0];
  const choose = (field, isOptional) => makeField(field, read.columns, mapping[field], isOptional, (value) => {
    mapping[field] = value;
    if (field === "speaker") state.roles = findRoles(read, mapping);
    draw(`file-${field}`);
  });
  const isComplete = state.task && findColumn(read, mapping.text) >= 0 && (!isTurns || findColumn(read, mapping.speaker) >= 0);
  return [
    h("h2", {}, state.file.name),
    h("p", { class: "quiet" }, t("file.found", { rows: count(read.row_count), columns: read.columns.length })),
    read.warnings.map((warning) => h("p", { class: "notice warn" }, warning)),
    makePreview(read, mapping),
    h("div", { class: "fields" },
      read.sheets.length > 1 && makeSheet(read, onSheet),
      makeKind(mapping, draw),
      fitting.length > 1 && makeTask(state, fitting),
      choose("text", false),
      isTurns && [choose("speaker", false), choose("dialogue", true)],
      choose("label", true)),
    isTurns && makeRoles(state),
    makePriorSwitch(["estimate", "uniform", "training"], state.prior, (prior) => { state.prior = prior; }),
    !state.task && h("p", { class: "notice warn" }, t("file.notask")),
    h("div", { class: "actions" },
      h("button", { type: "button", class: "primary", id: "start", disabled: !isComplete || !read.row_count, on: { click: onStart } }, t("file.start", { rows: count(read.row_count) })),
      h("button", { type: "button", on: { click: onOther } }, t("file.other"))),
  ];
}

function makeSheet(read, onSheet) {
  return h("div", { class: "field" }, h("label", { for: "file-sheet" }, t("file.sheet")),
    h("select", { id: "file-sheet", on: { change: (event) => onSheet(event.target.value) } },
      read.sheets.map((name) => h("option", { value: name, selected: name === read.sheet }, name))));
}

function makeKind(mapping, draw) {
  return h("div", { class: "field" }, h("label", { for: "file-kind" }, t("file.kind")),
    h("select", { id: "file-kind", on: { change: (event) => { mapping.kind = event.target.value; draw("file-kind"); } } },
      ["problems", "turns"].map((kind) => h("option", { value: kind, selected: kind === mapping.kind }, t(`file.kind.${kind}`)))));
}

function makeTask(state, fitting) {
  return h("div", { class: "field" }, h("label", { for: "file-task" }, t("problem.task")),
    h("select", { id: "file-task", on: { change: (event) => { state.task = fitting.find((task) => task.task === event.target.value); } } },
      fitting.map((task) => h("option", { value: task.task, selected: task === state.task }, nameTask(task)))));
}

function makeField(field, columns, chosen, isOptional, onChange) {
  const id = `file-${field}`;
  const isMissing = !columns.includes(chosen);
  return h("div", { class: "field" }, h("label", { for: id }, t(`file.field.${field}`)),
    h("select", { id, on: { change: (event) => onChange(event.target.value || null) } },
      (isOptional || isMissing) && h("option", { value: "", selected: isMissing }, t(isOptional ? "file.none" : "file.choose")),
      columns.map((name) => h("option", { value: name, selected: name === chosen }, name))));
}

function makeRoles(state) {
  const names = Object.keys(state.roles);
  if (!names.length) return null;
  return h("fieldset", {}, h("legend", {}, t("dialogue.names")), h("div", { class: "names" },
    names.slice(0, MOST_NAMES).map((name) => h("label", {}, name,
      h("select", { on: { change: (event) => { state.roles[name] = event.target.value; } } },
        ["teacher", "student"].map((role) => h("option", { value: role, selected: state.roles[name] === role }, t(`speaker.${role}`))))))),
  names.length > MOST_NAMES && h("p", { class: "note" }, t("file.names.more", { number: names.length - MOST_NAMES })));
}

function makePreview(read, mapping) {
  const roles = ["text", "speaker", "dialogue", "label"].filter((field) => mapping.kind === "turns" || !["speaker", "dialogue"].includes(field));
  const chosen = new Map(roles.map((field) => [mapping[field], field]));
  return h("div", { class: "scroll preview", tabindex: "0", role: "region", "aria-label": t("file.preview") }, h("table", {},
    h("thead", {}, h("tr", {}, read.columns.map((name) => h("th", { scope: "col", class: chosen.has(name) && "chosen" },
      name, chosen.has(name) && h("div", {}, h("span", { class: "tag", "data-hue": "blue" }, t(`file.field.${chosen.get(name)}`))))))),
    h("tbody", {}, read.rows.slice(0, SHOWN).map((row) => h("tr", {}, row.map((cell, place) =>
      h("td", { class: chosen.has(read.columns[place]) && "chosen", lang: "zh-CN" }, cell ?? "")))))));
}
