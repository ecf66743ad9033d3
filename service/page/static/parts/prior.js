/* Which mix of classes the probabilities answer for. */

import { h, makeId } from "../core/dom.js";
import { t } from "../core/words.js";

/** A group of radio buttons with one sentence of explanation; `onChange` gets the choice. */
export function makePriorSwitch(choices, chosen, onChange) {
  const name = makeId("prior");
  const note = h("p", { class: "note", id: `${name}-note` }, t(`prior.${chosen}.note`));
  const options = choices.map((prior) => {
    const input = h("input", {
      type: "radio", name, value: prior, checked: prior === chosen,
      on: { change: () => {
        note.textContent = t(`prior.${prior}.note`);
        onChange(prior);
      } },
    });
    return h("label", { class: "option" }, input, h("span", {}, t(`prior.${prior}`)));
  });
  return h("fieldset", { class: "prior", "aria-describedby": note.id },
    h("legend", {}, t("prior.legend")), h("div", { class: "options" }, options), note);
}
