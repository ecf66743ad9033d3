/* How far the labelling of a file is, and the buttons that stop it and let it go on. */

import { explain } from "../core/api.js";
import { h, put } from "../core/dom.js";
import { count, t } from "../core/words.js";

/** A card that `update()` keeps true; buttons stay the same while the state does. */
export function makeProgress(labelling) {
  const title = h("h2");
  const bar = h("progress", { max: labelling.total, value: 0, "aria-label": t("file.state.running") });
  const numbers = h("p", { class: "quiet number", id: "progress" });
  const told = h("div", { role: "status" });
  const actions = h("div", { class: "actions" });
  const stop = h("button", { type: "button", id: "stop", on: { click: () => labelling.stop() } }, t("file.stop"));
  const goOn = h("button", { type: "button", class: "primary", id: "go-on", on: { click: () => labelling.run() } }, t("file.goon"));
  const update = () => {
    const { state, problem, done, total } = labelling;
    bar.value = done;
    title.textContent = t(`file.state.${state}`);
    numbers.textContent = t("file.progress", { done: count(done), total: count(total) }) + tellSpeed(labelling);
    put(told, problem && h("p", { class: `notice ${state === "waiting" ? "warn" : "bad"}` },
      explain(problem), " ", state === "waiting" && t("file.waits")));
    const button = { running: stop, waiting: stop, stopped: goOn }[state];
    if (actions.firstChild !== (button ?? null)) {
      const hadFocus = actions.contains(document.activeElement);
      put(actions, button);
      if (hadFocus) button?.focus();
    }
  };
  update();
  const element = h("section", { class: "card", "aria-label": t("file.state.running") }, title, bar, numbers, told, actions);
  return { element, update };
}

function tellSpeed({ state, rate, done, total }) {
  if (!rate || state !== "running") return "";
  const seconds = Math.ceil((total - done) / rate);
  const time = seconds < 90 ? t("time.seconds", { number: seconds }) : t("time.minutes", { number: Math.round(seconds / 60) });
  return ` · ${t("file.rate", { rate: count(rate) })} · ${t("file.left", { time })}`;
}
