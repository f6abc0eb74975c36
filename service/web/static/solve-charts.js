/** Charts of a solve: its steps, and the logits along the depth. */

import { counted, number, percent } from "./format.js";
import { apart } from "./labels.js";
import { valuesAt } from "./moment.js";
import { Chart, decades, element, linear, logarithmic, path, round, rule, steps, tag, text } from "./svg.js";

const LEFT = 44;
const RIGHT = 104; // room for the longest label, "9 · > 99.99%"
const FEW = 40; // up to this many readings, each has a marker
const WIDE = 84; // pixels: a step that is at least as wide has its size and its error as text

/** @typedef {import("./api.js").Prediction} Prediction */

/** @param {number} width @returns {(t: number) => number} */
const depth = (width) => linear(0, 1, LEFT, width - RIGHT);

/** @param {HTMLElement} host @returns {Chart<Prediction>} the size of each step, over t */
export const stepsChart = (host) => new Chart(host, 150, drawSteps);

/** @typedef {{prediction: Prediction, t: number}} Shown a prediction, and the time that is marked */

/** @param {HTMLElement} host @returns {Chart<Shown>} the ten logits, over t */
export const logitsChart = (host) => new Chart(host, 250, drawLogits);

/** @param {Prediction} prediction @param {number} width @param {number} height */
function drawSteps({ trace, looser_traces }, width, height) {
  const attempts = trace?.attempts ?? [];
  const looser = looser_traces.flatMap((each) => each.attempts);
  const [x, top, bottom] = [depth(width), 22, height - 10];
  const smallest = Math.min(0.1, ...attempts.map(({ size }) => size));
  const low = 10 ** Math.floor(Math.log10(smallest) + 1e-9);
  const y = logarithmic(low, 1, bottom, top);
  const grid = decades(low, 1).map((size) =>
    element("g", {}, rule([LEFT, y(size)], [width - RIGHT, y(size)]), text(LEFT - 8, y(size) + 4, number(size), "end")),
  );
  const accepted = attempts.filter((attempt) => attempt.accepted);
  const rejected = attempts.filter((attempt) => !attempt.accepted);
  const spans = (/** @type {typeof attempts} */ some) =>
    some
      .map(({ t, size }) =>
        path([
          [x(t), y(size)],
          [x(t + size), y(size)],
        ]),
      )
      .join("");
  const fills = accepted.map(({ t, size }) => {
    const [from, to] = [x(t), x(t + size)];
    return path([
      [from, bottom],
      [from, y(size)],
      [to, y(size)],
      [to, bottom],
    ]);
  });
  const largest = Math.max(...attempts.map(({ size }) => size));
  const summary =
    `${counted(accepted.length, "accepted step")}, ${rejected.length} rejected; ` +
    `sizes from ${number(Math.min(...attempts.map(({ size }) => size)))} to ${number(largest)}`;
  const parts = [
    text(LEFT - 36, 10, "step size", "start"),
    ...grid,
    element("path", { d: fills.join("") || "M0 0", class: "step-fill" }),
    element("path", { d: spans(accepted) || "M0 0", class: "step" }),
    element("path", { d: spans(rejected) || "M0 0", class: "step rejected" }),
    ...accepted.flatMap((attempt) => facts(attempt, x, y)),
  ];
  if (looser.length) parts.push(element("path", { d: spans(looser), class: "looser" }));
  if (rejected.length) {
    parts.push(text(width, 10, `${rejected.length} rejected, tried again smaller`, "end", "label warn"));
  }
  const before = looser.length ? `, after a loose solve of ${counted(looser.length, "step")}` : "";
  return { parts, summary: `Steps of the solve: ${summary}${before}` };
}

/**
 * The size and the error of a step as text, if the step is wide enough, and a dot at each of its ends.
 *
 * @param {import("./api.js").Attempt} attempt
 * @param {(t: number) => number} x
 * @param {(size: number) => number} y
 * @returns {SVGElement[]}
 */
function facts({ t, size, error }, x, y) {
  const [from, to, top] = [x(t), x(t + size), y(size)];
  const [middle, words] = [(from + to) / 2, error === null ? "no estimate" : `error ${number(error)}`];
  if (to - from < WIDE) return [];
  const dots = [from, to].map((cx) => element("circle", { cx: round(cx), cy: round(top), r: 3, class: "node" }));
  return [
    ...dots,
    text(middle, top + 20, `step of ${number(size)}`, "middle"),
    text(middle, top + 36, words, "middle"),
  ];
}

/** @param {Shown} shown @param {number} width @param {number} height */
function drawLogits({ prediction, t: now }, width, height) {
  const { trace, looser_traces, digit, probabilities, margin } = prediction;
  const readings = trace?.depth ?? [];
  const [x, top, bottom] = [depth(width), 22, height - 34];
  const before = looser_traces.map(({ depth }) => depth);
  const all = [readings, ...before]
    .flat()
    .flatMap(({ logits }) => logits)
    .filter(Number.isFinite);
  const [least, most] = [Math.floor(Math.min(0, ...all)), Math.ceil(Math.max(1, ...all))];
  const y = linear(least, most, bottom, top);
  const last = readings[readings.length - 1].logits;
  const second = [...probabilities.keys()].filter((each) => each !== digit).sort((a, b) => last[b] - last[a])[0];
  const rank = (/** @type {number} */ each) => (each === digit ? "first" : each === second ? "second" : "other");
  const labels = apart(last.map(y), 13, top, bottom + 4);
  const present = valuesAt(readings, now, "logits");
  const order = [...last.keys()].filter((each) => each !== digit && each !== second).concat(second, digit);
  const lines = order.map((each) => {
    const points = readings.map(({ t, logits }) => [x(t), y(logits[each])]);
    const r = each === digit ? 3 : 2;
    const marked = readings.length <= FEW ? points : [];
    const marks = marked.map(([cx, cy]) => element("circle", { cx: round(cx), cy: round(cy), r }));
    const name = each === digit ? `${each} · ${percent(probabilities[each]).replace(" %", "%")}` : String(each);
    return element(
      "g",
      { class: `logit ${rank(each)}` },
      element("path", { d: path(points) }),
      ...marks,
      ...tag(width - RIGHT, y(last[each]), labels[each], name),
      ...(now < 1 ? [element("circle", { cx: round(x(now)), cy: round(y(present[each])), r: r + 1.5 })] : []),
    );
  });
  const looser = before.flatMap((depth) =>
    [second, digit].map((each) => path(depth.map(({ t, logits }) => [x(t), y(logits[each])]))),
  );
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((t) => {
    const mark = element("path", {
      d: path([
        [x(t), bottom + 8],
        [x(t), bottom + 13],
      ]),
      class: "axis",
    });
    return element("g", {}, mark, text(x(t), bottom + 27, String(t), "middle"));
  });
  const grid = steps(least, most).map((tick) => {
    const name = number(tick).replace("-", "−");
    return element("g", {}, rule([LEFT, y(tick)], [width - RIGHT, y(tick)]), text(LEFT - 8, y(tick) + 4, name, "end"));
  });
  const start = readings[0].logits;
  const parts = [
    text(LEFT - 36, 10, "logit", "start"),
    ...grid,
    element("path", {
      d: path([
        [LEFT, bottom + 8],
        [width - RIGHT, bottom + 8],
      ]),
      class: "axis",
    }),
    ...ticks,
    text(width - RIGHT + 8, bottom + 27, "t", "start"),
    ...lines,
  ];
  if (looser.length) {
    parts.push(element("path", { d: looser.join(""), class: "looser" }));
    parts.push(text(width - RIGHT, 10, "dashed: the loose solve", "end"));
  }
  if (margin !== null) parts.push(text(width, 10, `margin ${number(margin)}`, "end"));
  const begin = start.indexOf(Math.max(...start));
  const again = looser.length ? "; the loose solve before left them close" : "";
  const summary = `The ten logits along the depth: ${begin} leads at t = 0, ${digit} at t = 1, before ${second}${again}`;
  return { parts, summary };
}
