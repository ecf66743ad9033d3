/* What stands in the table: labels under the chosen mix, what people corrected, and filters. */

import { matchLabel, measureAgreement } from "./agreement.js";
import { estimateMix, shiftPrior } from "./mix.js";

export class Review {
  /** `theirs` are the labels of the file by row, or null without such a column. */
  constructor(task, labelling, texts, theirs, prior) {
    Object.assign(this, { task, labelling, texts, prior });
    this.theirs = theirs && theirs.map((text) => matchLabel(task, text));
    this.unknown = theirs ? theirs.filter((text, row) => (text ?? "").trim() && !this.theirs[row]).length : 0;
    this.corrections = new Map();
    this.filters = { search: "", label: "", confidence: 0, doubtful: false, differing: false };
    this.sort = { by: "number", ascending: true };
    this.settle();
  }

  /** Work out the labels again: rows have come, or another mix was chosen. */
  settle() {
    const { results } = this.labelling;
    const { ids, described } = this.task;
    const training = ids.map((id) => described.training_prior[id]);
    const known = results.filter((each) => each?.probabilities).map((each) => each.probabilities);
    const estimate = () => {
      this.estimate = estimateMix(training, known, this.estimate);
      return this.estimate;
    };
    this.shares = { uniform: () => null, training: () => training, estimate }[this.prior]();
    this.answers = results.map((each) => each?.probabilities ? this.answer(each) : null);
    this.choose();
  }

  answer({ probabilities, set }) {
    const shifted = shiftPrior(probabilities, this.shares);
    const best = shifted.indexOf(Math.max(...shifted));
    const label = this.task.ids[best];
    return { label, confidence: shifted[best], probabilities: shifted, doubtful: set.length !== 1 || set[0] !== label };
  }

  /** The label of a row as it is now: a person's, else the model's. */
  labelOf(row) {
    return this.corrections.get(row) ?? this.answers[row]?.label ?? null;
  }

  /** Whether a person should still look at it. */
  isDoubtful(row) {
    return Boolean(this.answers[row]?.doubtful) && !this.corrections.has(row);
  }

  /** Give a row the label of a person; null takes it back. */
  correct(row, id) {
    if (id === null) this.corrections.delete(row);
    else if (this.answers[row]) this.corrections.set(row, id);
  }

  /** Choose and sort the rows to be shown. */
  choose() {
    const { search, label, confidence, doubtful, differing } = this.filters;
    const wanted = search.trim().toLowerCase();
    this.rows = [];
    for (let row = 0; row < this.texts.length; row += 1) {
      const answer = this.answers[row];
      if (wanted && !this.texts[row].toLowerCase().includes(wanted)) continue;
      if (label && this.labelOf(row) !== label) continue;
      if (confidence && !(answer && answer.confidence < confidence)) continue;
      if (doubtful && !this.isDoubtful(row)) continue;
      if (differing && !(this.theirs[row] && answer && this.theirs[row] !== this.labelOf(row))) continue;
      this.rows.push(row);
    }
    const { by, ascending } = this.sort;
    if (by === "number" && ascending) return;
    const key = {
      number: (row) => row,
      text: (row) => this.texts[row],
      label: (row) => this.task.ids.indexOf(this.labelOf(row)),
      confidence: (row) => this.answers[row]?.confidence ?? 2,
      review: (row) => -Number(this.isDoubtful(row)),
      theirs: (row) => this.task.ids.indexOf(this.theirs[row]),
    }[by];
    const sign = ascending ? 1 : -1;
    const keys = new Map(this.rows.map((row) => [row, key(row)]));
    this.rows.sort((a, b) => sign * ((keys.get(a) > keys.get(b)) - (keys.get(a) < keys.get(b))) || a - b);
  }

  /** Numbers for the summary. */
  summarize() {
    const counts = Object.fromEntries(this.task.ids.map((id) => [id, 0]));
    let [labelled, doubtful, failed] = [0, 0, 0];
    this.answers.forEach((answer, row) => {
      if (answer) {
        labelled += 1;
        counts[this.labelOf(row)] += 1;
        doubtful += this.isDoubtful(row);
      } else if (this.labelling.results[row]) failed += 1;
    });
    const changed = [...this.corrections].filter(([row, id]) => this.answers[row]?.label !== id).length;
    return { counts, labelled, doubtful, failed, checked: this.corrections.size, changed, agreement: this.compare() };
  }

  compare() {
    if (!this.theirs) return null;
    const pairs = this.answers.flatMap((answer, row) => answer && this.theirs[row] ? [[answer.label, this.theirs[row]]] : []);
    return measureAgreement(pairs);
  }
}
