/* What the service serves, how good it is, and what it must not be used for. */

import { h, put } from "../core/dom.js";
import { defineLabel, findHue, nameGroup, nameLabel, nameTask } from "../core/labels.js";
import { count, findLanguage, hasWords, percent, t } from "../core/words.js";
import { makeHeatMap, makeReliability } from "../parts/figures.js";

const state = { modes: {}, prior: "uniform" };

export function draw(main, tasks) {
  put(main,
    h("h1", { tabindex: "-1" }, t("model.title")),
    h("p", { class: "lead" }, t("model.lead")),
    tasks.map((task) => makeTaskSection(task, () => draw(main, tasks))),
    h("section", { class: "card" },
      h("h2", {}, t("model.limits")),
      h("ul", {}, [1, 2, 3, 4, 5].map((number) => h("li", {}, t(`model.limit.${number}`))))));
}

function makeTaskSection(task, redraw) {
  const { model, described, others } = task;
  const modes = Object.keys(described.evaluation);
  const mode = state.modes[task.task] ?? modes[0];
  const evaluation = described.evaluation[mode];
  const note = `note.${task.task}`;
  return h("section", { class: "card", "aria-label": nameTask(task) },
    h("h2", {}, nameTask(task)),
    h("p", { class: "quiet" }, hasWords(note) ? t(note) : task.note),
    h("dl", { class: "figures" },
      makeFact(t("model.name"), model.name), makeFact(t("model.fingerprint"), h("code", {}, model.fingerprint)),
      makeFact(t("model.created"), model.created), makeFact(t("model.base"), model.base_model),
      makeFact(t("model.engine"), model.engine),
      others.length > 0 && makeFact(t("model.others"), others.map((each) => `${each.name} (${each.fingerprint})`).join(", "))),
    evaluation ? makeEvaluation(task, modes, mode, evaluation, redraw)
      : [makeLabelTable(task, listFigures(task, null)), h("p", { class: "notice" }, t("model.unmeasured"))]);
}

function makeFact(name, value) {
  return h("div", {}, h("dt", {}, name), h("dd", {}, value));
}

function makeEvaluation(task, modes, mode, evaluation, redraw) {
  const answers = state.prior === "training" ? evaluation.training_prior_answers ?? {} : evaluation;
  const interval = state.prior === "uniform" ? evaluation.intervals?.macro_recall : null;
  return [
    h("div", { class: "actions" },
      modes.length > 1 && makeChoice("mode", modes, mode, (chosen) => { state.modes[task.task] = chosen; redraw(); }, task),
      makeChoice("prior", ["uniform", "training"], state.prior, (chosen) => { state.prior = chosen; redraw(); }, task)),
    h("h3", {}, t("model.quality", { items: count(evaluation.items) })),
    h("dl", { class: "figures" },
      makeFigureOf(t("model.accuracy"), answers.accuracy), makeFigureOf(t("model.recall"), answers.macro_recall, interval),
      makeFigureOf(t("model.f1"), answers.macro_f1), makeFigureOf(t("model.kappa"), answers.kappa),
      makeFigureOf(t("model.ece"), evaluation[`ece_${state.prior}`], null, 3)),
    h("p", { class: "note" }, t(`model.quality.${state.prior}`)),
    makeLabelTable(task, listFigures(task, evaluation)),
    h("div", { class: "columns charts" },
      makeReliabilitySection(evaluation), makeConfusionSection(task, evaluation)),
  ];
}

function makeFigureOf(name, value, interval, digits = 2) {
  if (value == null) return null;
  const range = interval ? h("span", { class: "quiet" }, ` ${interval.map((each) => each.toFixed(digits)).join("–")}`) : null;
  return h("div", {}, h("dt", {}, name, range), h("dd", { class: "big" }, value.toFixed(digits)));
}

function makeChoice(what, options, chosen, onChange, task) {
  const id = `model-${what}-${task.task}`;
  return h("span", { class: "option" },
    h("label", { for: id }, t(`model.${what}`)),
    h("select", { id, on: { change: (event) => {
      onChange(event.target.value);
      document.getElementById(id)?.focus();
    } } },
    options.map((each) => h("option", { value: each, selected: each === chosen }, t(`${what}.${each}`)))));
}

/** Precision if every class were equally frequent, from the rows of the confusion matrix. */
export function computeEvenPrecision(confusion) {
  const shares = confusion.map((row) => {
    const total = row.reduce((sum, each) => sum + each, 0);
    return row.map((each) => (total ? each / total : 0));
  });
  return shares.map((_, column) => {
    const said = shares.reduce((sum, row) => sum + row[column], 0);
    return said ? shares[column][column] / said : 0;
  });
}

/** Texts, recall and precisions of each class, under the prior that is looked at.

    Checkpoints of before say nothing of each class under the training prior. */
function listFigures(task, evaluation) {
  if (!evaluation) return { heads: [], rows: {} };
  const other = state.prior === "training" ? evaluation.training_prior_answers?.per_class : null;
  if (other) {
    const rows = task.ids.map((id) => [id, [count(evaluation.per_class[id].support), other[id].recall.toFixed(2), other[id].precision.toFixed(2)]]);
    return { heads: ["items", "recall.one", "precision.data"], note: "model.precision.training", rows: Object.fromEntries(rows) };
  }
  const even = computeEvenPrecision(evaluation.confusion);
  const rows = task.ids.map((id, index) => {
    const each = evaluation.per_class[id];
    return [id, [count(each.support), each.recall.toFixed(2), even[index].toFixed(2), each.precision.toFixed(2)]];
  });
  return { heads: ["items", "recall.one", "precision.even", "precision.data"], note: "model.precision.note", rows: Object.fromEntries(rows) };
}

function makeLabelTable(task, { heads, rows, note }) {
  return h("div", {}, h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": t("model.labels") }, h("table", {},
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, t("model.label")),
      heads.map((key) => h("th", { scope: "col", class: "number" }, t(`model.${key}`))))),
    h("tbody", {}, task.labels.map((label) => h("tr", {},
        h("th", { scope: "row" },
          h("span", { class: "tag", "data-hue": findHue(task, label.group), title: nameGroup(label.group) }, nameLabel(label)),
          h("p", { class: "definition" }, defineLabel(task, label))),
        rows[label.id]?.map((text) => h("td", { class: "number" }, text))))))),
  note && h("p", { class: "note" }, t(note)));
}

function makeReliabilitySection(evaluation) {
  const bins = evaluation[`reliability_${state.prior}`];
  if (!bins) return null;
  const told = bins.map((bin) => t("model.reliability.bin", { said: percent(bin.confidence), right: percent(bin.accuracy) }));
  return h("div", {},
    h("h3", {}, t("model.reliability")),
    h("p", { class: "note" }, t("model.reliability.note")),
    h("div", { class: "narrow" }, makeReliability({ bins, title: t("model.reliability"), description: told.join(" ") })));
}

function makeConfusionSection(task, evaluation) {
  const names = task.labels.map((label) => nameLabel(label));
  const description = task.labels.map((label, index) => {
    const row = evaluation.confusion[index];
    return t("model.confusion.row", { label: nameLabel(label), right: row[index], all: row.reduce((sum, each) => sum + each, 0) });
  }).join(" ");
  return h("div", {},
    h("h3", {}, t("model.confusion")),
    h("p", { class: "note" }, t("model.confusion.note")),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": t("model.confusion") },
      h("div", { class: "wide" }, makeHeatMap({
        rows: names, columns: task.labels.map(shorten), counts: evaluation.confusion,
        title: t("model.confusion"), description, left: 205, cell: 62,
      }))));
}

/** What fits above a column: the id, or the shorter Chinese name. */
function shorten({ id, name_zh: name }) {
  if (findLanguage() === "zh" && id.length > 4) return name;
  return id.length > 9 ? `${id.slice(0, 8)}…` : id;
}
