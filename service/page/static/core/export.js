/* The columns that are added to a file, and the corrections by themselves. */

const DIGITS = 6;
const round = (value) => Number(value.toFixed(DIGITS));

/** Names and, for each row of the file, cells of what the model and the person say. */
export function makeColumns(review) {
  const { task, labelling } = review;
  const names = [
    "label", "confidence", "needs_review", "prediction_set", "was_cut", "error", "model",
    "correction", "final_label", ...task.ids.map((id) => `p_${id}`),
  ].map((name) => `ncal_${name}`);
  const model = `${task.model.name} ${labelling.fingerprint ?? task.model.fingerprint}`;
  const rows = labelling.results.map((result, row) => {
    const answer = review.answers[row];
    if (!answer) return [...Array(5).fill(null), result?.error ?? null, ...Array(3 + task.ids.length).fill(null)];
    return [
      answer.label, round(answer.confidence), answer.doubtful, result.set, result.wasCut, null, model,
      review.corrections.get(row) ?? null, review.labelOf(row), ...answer.probabilities.map(round),
    ];
  });
  return { names, rows };
}

/** The rows that a person has looked at: number, text, the model's label and the person's. */
export function makeCorrections(review) {
  const rows = [...review.corrections.keys()].sort((a, b) => a - b);
  const base = { columns: ["row", "text"], rows: rows.map((row) => [row + 1, review.texts[row]]) };
  const names = ["ncal_label", "ncal_confidence", "ncal_correction"];
  const cells = rows.map((row) => [
    review.answers[row].label, round(review.answers[row].confidence), review.corrections.get(row),
  ]);
  return { base, names, rows: cells };
}
