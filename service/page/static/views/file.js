/* A file: chosen, understood, labelled, looked through, corrected and taken away. */

import { explain, RequestError } from "../core/api.js";
import { h, put } from "../core/dom.js";
import { readFile } from "../core/files.js";
import { Labelling } from "../core/labelling.js";
import { Review } from "../core/review.js";
import { findColumn, findRoles, makeItems } from "../core/sheet.js";
import { t } from "../core/words.js";
import { makeMappingCard } from "../parts/mapping.js";
import { makePriorSwitch } from "../parts/prior.js";
import { makeProgress } from "../parts/progress.js";
import { drawSummary, makeDownloads } from "../parts/summary.js";
import { makeTable } from "../parts/table_card.js";

const ENDINGS = ".csv,.tsv,.xlsx,.jsonl,.ndjson,.json,.parquet,.txt";
const EMPTY = { file: null, read: null, mapping: null, roles: {}, task: null, labelling: null, review: null, message: null };
const state = { ...EMPTY, prior: "estimate" };
let redraw = () => {};

addEventListener("beforeunload", (event) => {
  if (state.review?.corrections.size) event.preventDefault(); // corrections live in this page alone
});

export function draw(main, tasks) {
  redraw = () => draw(main, tasks);
  const content = state.labelling ? makeResult() : state.read ? [makeMapping(tasks)] : [makeDrop()];
  put(main,
    h("h1", { tabindex: "-1" }, t("file.title")),
    h("p", { class: "lead" }, t("file.lead")),
    state.message && h("p", { class: "notice bad", role: "alert" }, state.message),
    content);
}

function makeDrop() {
  const input = h("input", { type: "file", id: "file", accept: ENDINGS, on: { change: () => take(input.files[0]) } });
  const area = h("div", { class: "drop", on: {
    dragover: (event) => { event.preventDefault(); area.classList.add("over"); },
    dragleave: () => area.classList.remove("over"),
    drop: (event) => { event.preventDefault(); area.classList.remove("over"); take(event.dataTransfer.files[0]); },
  } },
  h("p", {}, t("file.drop")), input, h("label", { for: "file", class: "button" }, t("file.browse")),
  h("p", { class: "note", id: "reading", role: "status" }, t("file.formats")));
  return h("section", { class: "card" }, area);
}

/** Take a file from another view; its own view must be shown first. */
export async function openFile(file) {
  if (state.review?.corrections.size && !confirm(t("file.forget"))) return;
  state.labelling?.stop();
  await take(file);
}

async function take(file, sheet) {
  if (!file) return;
  const note = document.getElementById("reading");
  if (note) note.textContent = t("file.reading");
  Object.assign(state, EMPTY, { file });
  try {
    const read = await readFile(file, sheet);
    const mapping = { ...read.mapping };
    Object.assign(state, { read, mapping, roles: findRoles(read, mapping) });
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    state.message = explain(error);
  }
  redraw();
  document.querySelector("h1").focus();
}

function makeMapping(tasks) {
  return makeMappingCard(state, tasks, {
    onSheet: (sheet) => take(state.file, sheet),
    onStart: () => start(),
    onOther: () => forget(),
  });
}

function forget() {
  if (state.review?.corrections.size && !confirm(t("file.forget"))) return;
  state.labelling?.stop();
  Object.assign(state, EMPTY);
  redraw();
  document.querySelector("h1").focus();
}

function start() {
  const { read, mapping, task, roles } = state;
  const [text, label] = [findColumn(read, mapping.text), findColumn(read, mapping.label)];
  const window = { previous: task.described.previous_turns, following: task.described.following_turns };
  const items = makeItems(read, mapping, roles, window);
  const theirs = label < 0 ? null : read.rows.map((row) => row[label]);
  state.labelling = new Labelling(task, items, () => state.onProgress?.());
  state.review = new Review(task, state.labelling, read.rows.map((row) => row[text] ?? ""), theirs, state.prior);
  redraw();
  document.querySelector("h1").focus();
  state.labelling.run();
}

/** Progress, numbers, table and downloads; drawn again as rows come. */
function makeResult() {
  const { labelling, review } = state;
  const progress = makeProgress(labelling);
  const summary = h("section", { class: "card", "aria-label": t("file.summary") });
  const table = makeTable(review, () => drawSummary(summary, review));
  const downloads = h("div");
  const update = () => {
    progress.update();
    drawSummary(summary, review);
    table.refresh();
    const isStill = labelling.state === "finished" || (labelling.state === "stopped" && labelling.done > 0);
    if (!isStill) put(downloads);
    else if (!downloads.children.length) put(downloads, makeDownloads(state, review));
  };
  state.onProgress = () => {
    review.settle();
    update();
  };
  update();
  return [
    progress.element,
    h("div", { class: "columns" }, summary, h("section", { class: "card", "aria-label": t("prior.legend") },
      makePriorSwitch(["estimate", "uniform", "training"], review.prior, (prior) => {
        review.prior = state.prior = prior;
        state.onProgress();
      }),
      h("button", { type: "button", on: { click: forget } }, t("file.other")))),
    table.element,
    downloads,
  ];
}
