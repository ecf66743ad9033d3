/* The class mix that labels are for. The service answers for equally frequent classes; by Bayes'
   rule p·π, normalised, answers for the mix π. Rows that come together tell their own mix: the
   same expectation maximisation as contract/estimation.py, anchored to the training data. */

const STRENGTH = 10;
const FLOOR = 0.001;
const MOST_STEPS = 400;
const SETTLED = 1e-6;

/** Shares of the classes in the rows; `rows` are probabilities for equally frequent classes.

    `start` is an estimate from fewer rows: it leads to the same shares, and sooner. */
export function estimateMix(training, rows, start = training) {
  const anchor = normalize(training);
  let shares = normalize(start);
  for (let step = 0; step < MOST_STEPS; step += 1) {
    const sums = anchor.map((share) => STRENGTH * share);
    for (const row of rows) {
      let total = 0;
      for (let k = 0; k < row.length; k += 1) total += row[k] * shares[k];
      for (let k = 0; k < row.length; k += 1) sums[k] += (row[k] * shares[k]) / total;
    }
    const next = normalize(sums);
    const moved = Math.hypot(...next.map((share, k) => share - shares[k]));
    shares = next;
    if (moved < SETTLED) break;
  }
  return normalize(shares.map((share) => Math.max(share, FLOOR)));
}

/** The probabilities of a row for a mix; null stands for equally frequent classes. */
export function shiftPrior(probabilities, shares) {
  return shares === null ? probabilities : normalize(probabilities.map((value, k) => value * shares[k]));
}

function normalize(values) {
  const total = values.reduce((sum, value) => sum + value, 0);
  return values.map((value) => value / total);
}
