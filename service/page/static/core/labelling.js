/* Labels all rows of a file in chunks; can be stopped, goes on at the first row without a label,
   and waits for a service that is busy or away. */

import { patiently, postJson, RequestError } from "./api.js";

const CHUNK_S = 1.2;
const [FEWEST, MOST] = [16, 1024];
const TRANSIENT = new Set(["overloaded", "engine-failed", "engine-dead", "draining", "not-ready", "deadline-exceeded", "internal"]);
const MOST_TRIES = 3;
/** Also what stands in the file that is taken away. */
export const NO_TEXT = "no text in this row";

export class Labelling {
  /** `items` as makeItems gives them; `onChange` is called when rows or the state have changed. */
  constructor(task, items, onChange) {
    Object.assign(this, { task, items, onChange });
    /** For each row: null, `{error}`, or `{probabilities, set, wasCut}`. */
    this.results = items.map((item) => (item ? null : { error: NO_TEXT }));
    this.state = "stopped";
    this.problem = null;
    this.fingerprint = null;
    this.done = this.results.filter(Boolean).length;
    this.rate = 0;
    this.chunk = 64;
  }

  get total() {
    return this.items.length;
  }

  /** Label what has no label yet, until all have or somebody stops it. */
  async run() {
    if (this.state === "running") return;
    this.abort = new AbortController();
    this.update({ state: "running", problem: null });
    try {
      while (this.done < this.total) await this.labelChunk(this.findNext());
      this.update({ state: "finished" });
    } catch (error) {
      if (error.name !== "AbortError" && !(error instanceof RequestError)) throw error;
      this.update({ state: "stopped", problem: error.name === "AbortError" ? null : error });
    }
  }

  stop() {
    this.abort?.abort();
  }

  update(changes) {
    Object.assign(this, changes);
    this.onChange(this);
  }

  findNext() {
    const rows = [];
    for (let row = this.first ?? 0; row < this.total && rows.length < this.chunk; row += 1) {
      if (this.results[row] === null) rows.push(row);
    }
    this.first = rows[0];
    return rows;
  }

  async labelChunk(rows, tries = 1) {
    const started = performance.now();
    const { signal } = this.abort;
    const path = `${this.task.path.slice(1)}/batch?prediction_set=true&prior=uniform`;
    const items = rows.map((row) => this.items[row]);
    let answer;
    try {
      answer = await patiently(() => postJson(path, { items }, { signal }), {
        signal, onWait: (error) => this.update({ state: "waiting", problem: error }),
      });
    } catch (error) {
      if (error.slug !== "body-too-large" || rows.length === 1) throw error;
      this.chunk = Math.max(1, Math.floor(rows.length / 2));
      return;
    }
    const again = rows.filter((row, place) => !this.take(row, answer.results[place], tries));
    this.measure(rows.length - again.length, (performance.now() - started) / 1000);
    this.update({ state: "running", problem: null });
    if (again.length) await this.labelChunk(again, tries + 1);
  }

  /** Keep the result of a row; false when it is to be asked again. */
  take(row, { prediction, error }, tries) {
    if (error) {
      if (TRANSIENT.has(error.type.split(":").pop()) && tries < MOST_TRIES) return false;
      this.results[row] = { error: (error.errors ?? []).map((each) => each.reason).join("; ") || error.detail };
    } else {
      this.fingerprint ??= prediction.model.fingerprint;
      if (prediction.model.fingerprint !== this.fingerprint) throw new RequestError(0, { type: "page:model-changed" }, null);
      const probabilities = this.task.ids.map((id) => prediction.probabilities[id]);
      this.results[row] = { probabilities, set: prediction.prediction_set, wasCut: prediction.was_cut };
    }
    this.done += 1;
    return true;
  }

  measure(labelled, seconds) {
    const rate = labelled / Math.max(seconds, 0.001);
    this.rate = this.rate ? 0.7 * this.rate + 0.3 * rate : rate;
    this.chunk = Math.round(Math.min(MOST, 2 * this.chunk, Math.max(FEWEST, rate * CHUNK_S)));
  }
}
