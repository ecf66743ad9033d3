/* How far the labels of a file and those of the model agree. */

/** The id of a label as somebody may have spelt it, or null. */
export function matchLabel(task, text) {
  const wanted = (text ?? "").trim().toLowerCase();
  if (!wanted) return null;
  const found = task.labels.find((label) =>
    [label.id, label.data_label, label.name_en, label.name_zh].some((name) => name.toLowerCase() === wanted));
  return found ? found.id : null;
}

/** Share of equal pairs and Cohen's kappa; null without any pair. */
export function measureAgreement(pairs) {
  if (!pairs.length) return null;
  const [ours, theirs] = [new Map(), new Map()];
  let equal = 0;
  for (const [mine, other] of pairs) {
    ours.set(mine, (ours.get(mine) ?? 0) + 1);
    theirs.set(other, (theirs.get(other) ?? 0) + 1);
    equal += mine === other;
  }
  const share = equal / pairs.length;
  let chance = 0;
  for (const [id, number] of ours) chance += (number * (theirs.get(id) ?? 0)) / pairs.length ** 2;
  return { items: pairs.length, share, kappa: chance < 1 ? (share - chance) / (1 - chance) : null };
}
