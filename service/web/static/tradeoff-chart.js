/** The measured trade-off of a model, with the measured point nearest to the current setting. */

import { counted, number, percent, setting } from "./format.js";
import { Chart, decades, element, logarithmic, path, round, rule, text } from "./svg.js";

const LEFT = 44;
const RIGHT = 66;
const LABEL = [58, 13]; // the width and the height of a label

/**
 * @typedef {{solver: {method: string, rtol: number | null, atol: number | null, steps: number | null}, error: number,
 *   agreement: number, logit_deviation: number, nfe: {mean: number}}} Point
 * @typedef {{rows: number, points: Point[], reference: Point["solver"], ladders: {bound: number}[]}} Profile
 * @typedef {{profile: Profile, solver: import("./api.js").Solver}} Shown
 */

/** @param {HTMLElement} host @returns {Chart<Shown>} */
export const tradeoffChart = (host) => new Chart(host, 390, draw);

/** @param {Profile} profile @returns {{adaptive: string[], fixed: string[]}} the measured methods */
export function methodsOf({ points }) {
  const named = (/** @type {boolean} */ fixed) => [
    ...new Set(points.filter(({ solver }) => (solver.steps !== null) === fixed).map(({ solver }) => solver.method)),
  ];
  return { adaptive: named(false), fixed: named(true) };
}

/** @param {Profile} profile @returns {number[]} the agreements on offer, ascending, rounded down to a hundredth of a per cent */
export const agreementsOf = ({ ladders }) => ladders.map(({ bound }) => Math.floor(1e4 * bound) / 1e4);

/**
 * The measured point of the same method that is nearest in tolerance, or in the number of steps.
 *
 * `Profile.nearest` in models/artifact.py does the same with the same divisions. Logarithms could round differently in
 * the two languages, and so choose different points where two are equally near.
 *
 * @param {Profile} profile
 * @param {Point["solver"]} solver the setting that an image was solved with
 * @returns {Point}
 */
export function nearest({ points }, { method, rtol, atol, steps }) {
  const distance = (/** @type {Point} */ point) => {
    if (rtol === null || atol === null) return Math.abs((point.solver.steps ?? 0) - (steps ?? 0));
    if (point.solver.rtol === null) return Infinity;
    const tolerance = Math.max(rtol, atol);
    return Math.max(point.solver.rtol / tolerance, tolerance / point.solver.rtol);
  };
  const own = points.filter((point) => point.solver.method === method);
  return own.reduce((best, point) => (distance(point) < distance(best) ? point : best));
}

/** @param {Shown} shown @param {number} width @param {number} height */
function draw({ profile, solver }, width, height) {
  const points = profile.points.filter((point) => point.logit_deviation > 0);
  const [top, bottom] = [22, height - 40];
  const deviations = points.map((point) => point.logit_deviation);
  const costs = points.map((point) => point.nfe.mean);
  const x = logarithmic(1, Math.max(...costs), LEFT, width - RIGHT);
  const y = logarithmic(Math.min(...deviations), Math.max(...deviations), bottom, top);
  const methods = [...new Set(points.map((point) => point.solver.method))];
  const curves = methods.map((method) =>
    points.filter((point) => point.solver.method === method).sort((a, b) => a.nfe.mean - b.nfe.mean),
  );
  const ends = curves.map((curve) => curve[curve.length - 1]);
  const own = methods.indexOf(solver.method);
  const labels = free(
    ends.map((end) => [x(end.nfe.mean), y(end.logit_deviation)]),
    own,
  );
  const order = [...methods.keys()].filter((each) => each !== own).concat(own); // the last is drawn on top
  const lines = order.map((each) => {
    const places = curves[each].map((point) => [x(point.nfe.mean), y(point.logit_deviation)]);
    return element(
      "g",
      { class: `curve ${each === own ? "first" : "other"}` },
      element("path", { d: path(places) }),
      ...places.map(([cx, cy]) => element("circle", { cx: round(cx), cy: round(cy), r: 2 })),
      text(labels[each][0] + 7, labels[each][1] + 4, methods[each], "start"),
    );
  });
  const here = nearest(profile, solver);
  const place = [x(Math.max(1, here.nfe.mean)), y(Math.max(here.logit_deviation, Math.min(...deviations)))];
  const parts = [
    text(LEFT - 36, 10, "distance of the logits", "start"),
    ...decades(Math.min(...deviations), Math.max(...deviations)).flatMap((tick) => [
      rule([LEFT, y(tick)], [width - RIGHT, y(tick)]),
      text(LEFT - 8, y(tick) + 4, number(tick), "end"),
    ]),
    ...decades(1, Math.max(...costs)).flatMap((tick) => [
      rule([x(tick), top], [x(tick), bottom + 6]),
      text(x(tick), bottom + 20, String(tick), "middle"),
    ]),
    text(width - RIGHT, height - 4, "evaluations (NFE)", "end"),
    ...lines,
    element("circle", { cx: round(place[0]), cy: round(place[1]), r: 8, class: "here" }),
  ];
  const distance = here.logit_deviation
    ? `logits ${number(here.logit_deviation)} from those of a tight solve`
    : "the tight solve from which the distance of the others is measured";
  const summary =
    `By ${setting(here.solver)}: ${counted(Number(here.nfe.mean.toPrecision(3)), "evaluation")}, ${distance}, ` +
    `${percent(here.error)} of the digits wrong`;
  return { parts, summary };
}

/**
 * Place labels beside the ends of curves: as near as possible, without overlap.
 *
 * @param {number[][]} ends
 * @param {number} first the index of the label that is placed first, and so is nearest to its curve
 * @returns {number[][]} the position of each label, in the order of the ends
 */
function free(ends, first) {
  /** @type {number[][]} */
  const placed = [];
  const isFree = (/** @type {number} */ x, /** @type {number} */ y) =>
    placed.every((other) => !other || Math.abs(other[0] - x) > LABEL[0] || Math.abs(other[1] - y) >= LABEL[1]);
  for (const each of [first, ...ends.keys()]) {
    const [x, y] = ends[each];
    const shifts = Array.from({ length: 20 }, (_, index) => Math.ceil(index / 2) * (index % 2 ? -4 : 4));
    const shift = shifts.find((by) => isFree(x, y + by));
    placed[each] ??= [x, y + (shift ?? 0)];
  }
  return placed;
}
