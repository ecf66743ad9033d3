/* One problem: its label, why, and how sure the model is. */

import { explain, patiently, postJson, RequestError } from "../core/api.js";
import { h, put } from "../core/dom.js";
import { defineLabel, findHue, findLabel, nameGroup, nameLabel } from "../core/labels.js";
import { percent, t } from "../core/words.js";
import { makeBars } from "../parts/bars.js";
import { makeReviewMark, makeTag } from "../parts/label.js";
import { makePriorSwitch } from "../parts/prior.js";
import { makeTaskChoice } from "../parts/task_choice.js";

const EXAMPLES = [
  "一个养鸡场有131只鸡，每个鸡笼最多能养6只鸡，养这些鸡共需要鸡笼多少个？",
  "三角形的内角和是多少度？",
  "解方程 3x + 5 = 20",
  "下面哪个数最大：0.7、0.69、0.701？",
  "小明比小红大3岁，5年前两人年龄的和是19岁，今年小红几岁？",
];
const state = { text: "", prior: "uniform", task: "", answer: null, error: null };
let running = null;

export function draw(main, tasks) {
  const served = tasks.filter((task) => task.kind === "problem");
  if (!served.length) {
    put(main, h("h1", { tabindex: "-1" }, t("problem.title")), h("p", { class: "notice" }, t("problem.none")));
    return;
  }
  const task = served.find((each) => each.task === state.task) ?? served[0];
  const result = h("section", { class: "card", "aria-live": "polite", "aria-label": t("problem.result") });
  const input = h("textarea", {
    id: "problem-text", rows: "5", lang: "zh-CN", value: state.text, placeholder: t("problem.placeholder"),
    on: {
      input: () => { state.text = input.value; },
      keydown: (event) => {
        if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) ask();
      },
    },
  });
  const ask = () => askFor(task, result);
  const examples = EXAMPLES.map((text) => h("li", {}, h("button", { type: "button", lang: "zh-CN", on: { click: () => {
    input.value = state.text = text;
    ask();
  } } }, text)));
  const form = h("form", { class: "card", on: { submit: (event) => { event.preventDefault(); ask(); } } },
    makeTaskChoice("problem-task", served, task, (name) => {
      Object.assign(state, { task: name, answer: null, error: null });
      draw(main, tasks);
    }),
    h("div", { class: "field" }, h("label", { for: "problem-text" }, t("problem.text")), input),
    h("p", { class: "quiet", id: "examples" }, t("problem.examples")),
    h("ul", { class: "chips", "aria-labelledby": "examples" }, examples),
    makePriorSwitch(["uniform", "training"], state.prior, (prior) => {
      state.prior = prior;
      if (state.answer) ask();
    }),
    h("div", { class: "actions" },
      h("button", { type: "submit", class: "primary" }, t("problem.ask")),
      h("span", { class: "quiet" }, h("kbd", {}, "Ctrl"), " + ", h("kbd", {}, "Enter"))));
  put(main,
    h("h1", { tabindex: "-1" }, t("problem.title")),
    h("p", { class: "lead" }, t("problem.lead")),
    h("div", { class: "columns" }, form, result));
  drawResult(result, task);
}

async function askFor(task, result) {
  if (!state.text.trim()) {
    state.error = t("problem.empty");
    return drawResult(result, task);
  }
  running?.abort();
  const { signal } = (running = new AbortController());
  const path = `${task.path.slice(1)}?prediction_set=true&prior=${state.prior}`;
  state.error = null;
  result.setAttribute("aria-busy", "true");
  try {
    state.answer = await patiently(() => postJson(path, { text: state.text }, { signal }), {
      signal,
      mostTries: 5,
      onWait: (error) => put(result, h("p", { class: "notice warn" }, explain(error), " ", t("error.waiting"))),
    });
  } catch (error) {
    if (error.name === "AbortError") return;
    if (!(error instanceof RequestError)) throw error;
    state.error = explain(error);
  }
  result.removeAttribute("aria-busy");
  drawResult(result, task);
}

function drawResult(result, task) {
  if (state.error) return put(result, h("p", { class: "notice bad", role: "alert" }, state.error));
  if (!state.answer) return put(result, h("p", { class: "empty" }, t("problem.nothing")));
  const { answer } = state;
  const label = findLabel(task, answer.label);
  put(result,
    h("div", { class: "result-head", "data-hue": findHue(task, label.group) },
      h("strong", { id: "label" }, nameLabel(label)),
      h("span", { class: "tag", "data-hue": findHue(task, label.group) }, nameGroup(label.group)),
      answer.needs_review && makeReviewMark()),
    h("p", {}, defineLabel(task, label)),
    h("p", { class: "quiet" }, t("problem.confidence", { share: percent(answer.confidence) }), " ",
      answer.needs_review ? t("review.why") : t("review.fine"),
      answer.was_cut ? ` ${t("problem.cut")}` : ""),
    h("h3", {}, t("problem.probabilities")),
    makeBars(task, answer.probabilities),
    h("h3", {}, t("problem.set")),
    answer.prediction_set.length
      ? h("ul", { class: "set" }, answer.prediction_set.map((id) => h("li", {}, makeTag(task, id))))
      : h("p", {}, t("problem.set.empty")),
    h("p", { class: "note" }, t("problem.set.note", { coverage: percent(task.described.conformal_coverage) })),
    h("p", { class: "note" }, t("problem.noclass")),
    h("p", { class: "provenance" }, t("provenance", { name: answer.model.name, fingerprint: answer.model.fingerprint })));
}
