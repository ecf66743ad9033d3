/* The charts of the page as SVG; each says in words what it shows. */

import { h, makeId, svg } from "../core/dom.js";
import { percent, t } from "../core/words.js";

/** A drawing with a title and a description that a screen reader reads. */
export function makeFigure({ width, height, title, description, stretched = false }, ...shapes) {
  const [titleId, textId] = [makeId("title"), makeId("text")];
  return h("figure", { class: "figure" },
    svg("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: stretched && "none", role: "img", "aria-labelledby": `${titleId} ${textId}` },
      svg("title", { id: titleId }, title), svg("desc", { id: textId }, description), shapes));
}

/** A table of counts as coloured fields: rows → columns, each row shaded by its own shares. */
export function makeHeatMap({ rows, columns, counts, title, description, left = 84, cell = 58 }) {
  const width = left + cell * columns.length + 4;
  const height = 44 + 40 * rows.length;
  const shapes = columns.map((name, j) =>
    svg("text", { x: left + cell * (j + 0.5), y: 30, "text-anchor": "middle", "font-size": 12 }, name));
  rows.forEach((name, i) => {
    const total = counts[i].reduce((sum, each) => sum + each, 0);
    shapes.push(svg("text", { x: left - 8, y: 64 + 40 * i, "text-anchor": "end", "font-size": 12.5 }, name));
    counts[i].forEach((count, j) => {
      const share = total ? count / total : 0;
      const [x, y] = [left + cell * j, 42 + 40 * i];
      shapes.push(
        svg("rect", { x: x + 1, y: y + 1, width: cell - 2, height: 38, rx: 5, class: "heat", style: { "--share": `${Math.round(45 * share)}%` } }),
        svg("text", { x: x + cell / 2, y: y + 25, "text-anchor": "middle", "font-size": 13, class: count ? "" : "faint" }, String(count)));
    });
  });
  return makeFigure({ width, height, title, description }, shapes);
}

/** Turns over time: a mark for each, teacher above, student below, as wide as it is long. */
export function makeStrip({ turns, title, description }) {
  const lengths = turns.map((turn) => Math.sqrt(turn.text.length) + 1);
  const scale = 1000 / lengths.reduce((sum, each) => sum + each, 0);
  let x = 0;
  const shapes = turns.map((turn, index) => {
    const size = lengths[index] * scale;
    const mark = svg("rect", {
      x, y: turn.speaker === "teacher" ? 2 : 38, width: Math.max(0.5, size - Math.min(2, size / 4)), height: 30,
      class: "moment", "data-hue": turn.hue ?? "grey",
    });
    x += size;
    return mark;
  });
  return h("div", { class: "strip" },
    h("div", { class: "strip-names", "aria-hidden": "true" },
      h("span", {}, t("speaker.teacher")), h("span", {}, t("speaker.student"))),
    makeFigure({ width: 1000, height: 70, title, description, stretched: true }, shapes));
}

/** Said against true: points of a reliability diagram beside the diagonal. */
export function makeReliability({ bins, title, description }) {
  const [left, size] = [46, 240];
  const at = (confidence, accuracy) => [left + size * confidence, 8 + size * (1 - accuracy)];
  const axis = [0, 0.5, 1].flatMap((value) => [
    svg("text", { x: left + size * value, y: size + 26, "text-anchor": "middle", "font-size": 12 }, percent(value)),
    svg("text", { x: left - 8, y: 12 + size * (1 - value), "text-anchor": "end", "font-size": 12 }, percent(value)),
  ]);
  const most = Math.max(...bins.map((bin) => bin.weight));
  return makeFigure({ width: left + size + 20, height: size + 56, title, description },
    svg("rect", { x: left, y: 8, width: size, height: size, class: "frame" }),
    svg("line", { x1: left, y1: 8 + size, x2: left + size, y2: 8, class: "diagonal" }),
    svg("polyline", { points: bins.map((bin) => at(bin.confidence, bin.accuracy).join(",")).join(" "), class: "curve" }),
    bins.map((bin) => {
      const [cx, cy] = at(bin.confidence, bin.accuracy);
      return svg("circle", { cx, cy, r: 2.5 + 5 * Math.sqrt(bin.weight / most), class: "point" });
    }),
    axis,
    svg("text", { x: left + size / 2, y: size + 48, "text-anchor": "middle", "font-size": 12.5 }, t("chart.said")),
    svg("text", { x: 0, y: 0, transform: `translate(11 ${8 + size / 2}) rotate(-90)`, "text-anchor": "middle", "font-size": 12.5 }, t("chart.true")));
}
