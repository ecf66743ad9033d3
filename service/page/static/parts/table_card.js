/* The table of a labelled file with its filters, and the chosen row beside it. */

import { h } from "../core/dom.js";
import { nameLabel } from "../core/labels.js";
import { count, t } from "../core/words.js";
import { drawDetail } from "./detail.js";
import { Grid } from "./grid.js";

/** Elements and `refresh()`, to be called when rows have come; `onCorrected` after each correction. */
export function makeTable(review, onCorrected) {
  const detail = h("section", { class: "card detail", "aria-label": t("file.row.label") });
  const shown = h("span", { class: "quiet", role: "status", id: "shown" });
  const correct = (row, id) => {
    review.correct(row, id);
    grid.draw();
    drawDetail(detail, review, row, (chosen) => correct(row, chosen));
    onCorrected();
  };
  const select = (row) => drawDetail(detail, review, row, (id) => correct(row, id));
  const grid = new Grid(review, { onSelect: select, onKey: (event, row) => press(event, row, review, grid, correct) });
  const refresh = () => {
    const before = grid.selected;
    grid.refresh();
    shown.textContent = t("file.shown", { shown: count(review.rows.length), all: count(review.texts.length) });
    const isWaiting = !detail.querySelector(".choices");
    if (before !== grid.selected || isWaiting) select(grid.selected);
  };
  const filter = () => {
    review.choose();
    grid.body.scrollTop = 0;
    refresh();
  };
  refresh();
  select(grid.selected);
  const card = h("section", { class: "card", "aria-label": t("file.table") },
    makeFilters(review, filter, shown),
    grid.element,
    h("p", { class: "note" }, t("file.keys")));
  return { element: h("div", { class: "columns wide-left table-columns" }, card, detail), refresh };
}

function press(event, row, review, grid, correct) {
  if (row === null) return;
  const label = review.task.labels[Number(event.key) - 1];
  if (label) correct(row, label.id);
  else if (event.key === "Enter" || event.key === " ") correct(row, review.labelOf(row));
  else if (event.key === "Backspace" || event.key === "Delete") correct(row, null);
  else if (event.key === "n") {
    const place = review.rows.indexOf(row);
    const next = [...review.rows.slice(place + 1), ...review.rows.slice(0, place)].find((each) => review.isDoubtful(each));
    if (next !== undefined) grid.select(next, true);
  } else return;
  event.preventDefault();
}

function makeFilters(review, filter, shown) {
  const { filters, task } = review;
  const set = (name, value) => {
    filters[name] = value;
    filter();
  };
  const check = (name) => h("label", { class: "option" },
    h("input", { type: "checkbox", id: `filter-${name}`, checked: filters[name], on: { change: (event) => set(name, event.target.checked) } }),
    t(`file.filter.${name}`));
  return h("div", { class: "filters" },
    h("input", { type: "search", id: "search", "aria-label": t("file.search"), placeholder: t("file.search"), value: filters.search,
      on: { input: (event) => set("search", event.target.value) } }),
    h("select", { id: "filter-label", "aria-label": t("model.label"), on: { change: (event) => set("label", event.target.value) } },
      h("option", { value: "" }, t("file.filter.all")),
      task.labels.map((label) => h("option", { value: label.id, selected: filters.label === label.id }, nameLabel(label)))),
    h("select", { id: "filter-confidence", "aria-label": t("file.column.confidence"), on: { change: (event) => set("confidence", Number(event.target.value)) } },
      h("option", { value: "0" }, t("file.filter.confidence")),
      [0.5, 0.7, 0.9].map((value) => h("option", { value, selected: filters.confidence === value }, t("file.filter.below", { share: `${value * 100}%` })))),
    check("doubtful"), review.theirs && check("differing"), shown);
}
