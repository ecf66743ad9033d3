/* The paragraph that a paper needs: what labelled the texts, how good it is, and its limits. */

import { nameTask } from "./labels.js";
import { count, percent, t } from "./words.js";

/** The methods paragraph of what stands in the table, in a language. */
export function writeMethods(review, language) {
  const { task, labelling } = review;
  const summary = review.summarize();
  const say = (key, values) => t(`methods.${key}`, values, language);
  const sentences = [
    say("what", {
      items: count(summary.labelled), kind: say(task.kind), task: nameTask(task, language), classes: task.ids.length,
      name: task.model.name, fingerprint: labelling.fingerprint ?? task.model.fingerprint,
      base: task.model.base_model, engine: task.model.engine, date: new Date().toISOString().slice(0, 10),
    }),
    describeQuality(review, say),
    say(`prior.${review.prior}`, {
      shares: (review.shares ?? []).map((share, k) => `${task.ids[k]} ${percent(share)}`).join(language === "zh" ? "、" : ", "),
    }),
    say("review", {
      coverage: percent(task.described.conformal_coverage), doubtful: count(summary.doubtful + countDoubtfulChecked(review)),
      share: percent((summary.doubtful + countDoubtfulChecked(review)) / Math.max(1, summary.labelled)),
    }),
    say(summary.checked ? "checked" : "unchecked", { checked: count(summary.checked), changed: count(summary.changed) }),
  ];
  if (summary.agreement) {
    const { items, share, kappa } = summary.agreement;
    sentences.push(say("agreement", { items: count(items), share: percent(share), kappa: kappa === null ? "–" : kappa.toFixed(2) }));
  }
  if (summary.failed) sentences.push(say("failed", { failed: count(summary.failed) }));
  sentences.push(say(`limits.${task.kind}`), say("limits"));
  return sentences.flat().filter(Boolean).join(language === "zh" ? "" : " ");
}

function countDoubtfulChecked(review) {
  return [...review.corrections.keys()].filter((row) => review.answers[row]?.doubtful).length;
}

function describeQuality({ task, prior }, say) {
  const modes = task.described.evaluation;
  const evaluation = modes.retrospective ?? Object.values(modes)[0];
  if (!evaluation) return say("unmeasured");
  const answers = prior === "training" ? evaluation.training_prior_answers ?? evaluation : evaluation;
  const [low, high] = prior === "training" ? [] : evaluation.intervals?.macro_recall ?? [];
  const mix = prior === "training" ? "training" : "uniform";
  const quality = say(`quality.${mix}`, {
    items: count(evaluation.items), accuracy: answers.accuracy.toFixed(3), recall: answers.macro_recall.toFixed(3),
    interval: low === undefined ? "" : say("interval", { low: low.toFixed(3), high: high.toFixed(3) }),
  });
  const calibration = say("calibration", { ece: evaluation[`ece_${mix}`]?.toFixed(3) ?? "–" });
  return [quality, calibration];
}
