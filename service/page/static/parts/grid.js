/* A table of any length: only the rows in sight are in the document. */

import { h, put } from "../core/dom.js";
import { percent, t } from "../core/words.js";
import { makeReviewMark, makeTag } from "./label.js";

const HEIGHT = 44;
const AROUND = 8;

/** Shows `review.rows`; `onSelect(row)` when another is chosen, `onKey(event, row)` for other keys. */
export class Grid {
  constructor(review, { onSelect, onKey }) {
    Object.assign(this, { review, onSelect, onKey });
    this.selected = review.rows[0] ?? null;
    this.head = h("div", { class: "grid-head", role: "row" });
    this.space = h("div", { "aria-hidden": "true" });
    this.body = h("div", { class: "grid-body", role: "rowgroup", on: {
      scroll: () => this.draw(), keydown: (event) => this.press(event),
    } });
    this.element = h("div", {
      class: `grid${review.theirs ? " compared" : ""}`, role: "grid", "aria-label": t("file.table"),
    }, h("div", { role: "rowgroup" }, this.head), this.body);
    new ResizeObserver(() => this.draw()).observe(this.body);
    this.drawHead();
  }

  get columns() {
    return ["number", "text", "label", ...(this.review.theirs ? ["theirs"] : []), "confidence", "review"];
  }

  /** Rows, order or labels have changed. */
  refresh() {
    const { rows } = this.review;
    if (!rows.includes(this.selected)) this.selected = rows[0] ?? null;
    this.drawHead();
    this.draw();
  }

  drawHead() {
    const { sort } = this.review;
    put(this.head, this.columns.map((name) => h("div", {
      role: "columnheader", class: `col-${name}`,
      "aria-sort": sort.by === name ? (sort.ascending ? "ascending" : "descending") : "none",
    }, h("button", { type: "button", on: { click: () => this.sortBy(name) } },
      t(`file.column.${name}`), sort.by === name ? h("span", { "aria-hidden": "true" }, sort.ascending ? "▲" : "▼") : ""))));
  }

  sortBy(name) {
    const { sort } = this.review;
    this.review.sort = { by: name, ascending: sort.by === name ? !sort.ascending : true };
    this.review.choose();
    const place = this.columns.indexOf(name);
    this.refresh();
    this.head.children[place].firstChild.focus();
  }

  draw() {
    const { rows } = this.review;
    const hadFocus = this.body.contains(document.activeElement);
    const first = Math.max(0, Math.floor(this.body.scrollTop / HEIGHT) - AROUND);
    const last = Math.min(rows.length, Math.ceil((this.body.scrollTop + (this.body.clientHeight || 450)) / HEIGHT) + AROUND);
    this.element.setAttribute("aria-rowcount", String(rows.length + 1));
    this.space.style.setProperty("height", `${rows.length * HEIGHT}px`);
    const places = [];
    for (let place = first; place < last; place += 1) places.push(place);
    const own = rows.indexOf(this.selected);
    if (own >= 0 && (own < first || own >= last)) places.push(own); // the focus must not fall out
    put(this.body, this.space, places.map((place) => this.makeRow(rows[place], place)));
    if (hadFocus) this.focus();
  }

  makeRow(row, place) {
    const { review } = this;
    const answer = review.answers[row];
    const id = review.labelOf(row);
    const failed = review.labelling.results[row]?.error;
    const cells = {
      number: String(row + 1),
      text: h("span", { lang: "zh-CN" }, review.texts[row]),
      label: id ? [makeTag(review.task, id), review.corrections.has(row) && h("span", { title: t("file.checked") }, " ✓", h("span", { class: "hidden-text" }, t("file.checked")))]
        : failed ? h("span", { class: "mark", title: failed }, t("file.nolabel")) : "…",
      theirs: review.theirs?.[row] ? makeTag(review.task, review.theirs[row], { short: true }) : "",
      confidence: answer ? percent(answer.confidence) : "",
      review: review.isDoubtful(row) ? makeReviewMark("review.short") : "",
    };
    return h("div", {
      class: "grid-row", role: "row", "aria-rowindex": place + 2, "aria-selected": String(row === this.selected),
      tabindex: row === this.selected ? "0" : "-1", "data-row": row, style: { top: `${place * HEIGHT}px` },
      on: { click: () => this.select(row, true) },
    }, this.columns.map((name) => h("div", { role: "gridcell", class: `col-${name}` }, cells[name])));
  }

  focus() {
    this.body.querySelector('[aria-selected="true"]')?.focus({ preventScroll: true });
  }

  /** Choose a row and bring it into sight. */
  select(row, withFocus) {
    this.selected = row;
    const top = this.review.rows.indexOf(row) * HEIGHT;
    if (top < this.body.scrollTop) this.body.scrollTop = top;
    const below = top + HEIGHT - this.body.clientHeight;
    if (below > this.body.scrollTop) this.body.scrollTop = below;
    this.draw();
    if (withFocus) this.focus();
    this.onSelect(row);
  }

  press(event) {
    const { rows } = this.review;
    const page = Math.max(1, Math.floor(this.body.clientHeight / HEIGHT) - 1);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.key in steps && rows.length) {
      event.preventDefault();
      const place = rows.indexOf(this.selected) + steps[event.key];
      this.select(rows[Math.min(rows.length - 1, Math.max(0, place))], true);
    } else if (!event.ctrlKey && !event.metaKey && !event.altKey) {
      this.onKey(event, this.selected);
    }
  }
}
