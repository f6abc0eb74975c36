/** The measured trade-off of a model, with the measured point nearest to the current setting. */

import { counted, number, percent, setting } from "./format.js";
import { beside } from "./labels.js";
import { Chart, decades, element, logarithmic, path, round, rule, text } from "./svg.js";

const LEFT = 44;
const RIGHT = 56; // room for the name of the longest curve
const BREAK = 28; // pixels between the smallest distance and 0, which has no place on a logarithmic scale

/**
 * @typedef {{solver: {method: string, rtol: number | null, atol: number | null, steps: number | null}, error: number,
 *   agreement: number, logit_deviation: number, nfe: {mean: number}}} Point
 * @typedef {{rows: number, points: Point[], reference: Point["solver"], ladders: {bound: number}[]}} Profile
 * @typedef {{profile: Profile, solver: import("./api.js").Solver}} Shown
 */

/** @param {HTMLElement} host @returns {Chart<Shown>} */
export const tradeoffChart = (host) => new Chart(host, 480, draw);

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
  const [top, zero] = [22, height - 40];
  const deviations = profile.points.map((point) => point.logit_deviation).filter((deviation) => deviation > 0);
  const costs = profile.points.map((point) => point.nfe.mean);
  const [least, greatest, dearest] = [Math.min(...deviations), Math.max(...deviations), Math.max(...costs)];
  const x = logarithmic(1, dearest, LEFT, width - RIGHT);
  const positive = logarithmic(least, greatest, zero - BREAK, top);
  const y = (/** @type {number} */ deviation) => (deviation > 0 ? positive(deviation) : zero);
  const place = (/** @type {Point} */ point) => [x(Math.max(1, point.nfe.mean)), y(point.logit_deviation)];
  const here = nearest(profile, solver);
  const [cx, cy] = place(here).map(round);
  const parts = [
    text(LEFT - 36, 10, "distance of the logits", "start"),
    ...[0, ...decades(least, greatest)].flatMap((tick) => [
      rule([LEFT, y(tick)], [width - RIGHT, y(tick)]),
      text(LEFT - 8, y(tick) + 4, number(tick), "end"),
    ]),
    ...decades(1, dearest).flatMap((tick) => [
      rule([x(tick), top], [x(tick), zero + 6]),
      text(x(tick), zero + 20, String(tick), "middle"),
    ]),
    text(width - RIGHT, height - 4, "evaluations of f", "end"),
    ...curves(profile, solver.method, place, zero, width),
    element("circle", { cx, cy, r: 8, class: "here" }),
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
 * The curve of each method; that of `first` is drawn on top of the others. The last piece of a curve that reaches the
 * distance 0 is dashed, because the scale is broken there.
 *
 * @param {Profile} profile
 * @param {string} first
 * @param {(point: Point) => number[]} place the coordinates of a point
 * @param {number} zero the vertical coordinate of the distance 0
 * @param {number} width of the chart
 * @returns {SVGElement[]}
 */
function curves({ points }, first, place, zero, width) {
  const methods = [...new Set(points.map((point) => point.solver.method))];
  const places = methods.map((method) =>
    points
      .filter((point) => point.solver.method === method)
      .map(place)
      .sort((a, b) => a[0] - b[0]),
  );
  const ends = places.map((each) => each[each.length - 1]);
  const named = ends.map(([x, y], each) => ({ x, y, words: methods[each] }));
  const labels = beside(named, places, width, zero + 10);
  const own = methods.indexOf(first);
  const order = [...methods.keys()].filter((each) => each !== own).concat(own);
  const kind = (/** @type {number} */ each) => ({ class: `curve ${each === own ? "first" : "other"}` });
  const lines = order.map((each) => {
    const [solid, [x, y]] = [places[each].filter(([, y]) => y < zero), ends[each]];
    const broken = y < zero ? [] : [element("path", { d: path([...solid.slice(-1), [x, y]]), class: "broken" })];
    const dots = places[each].map(([cx, cy]) => element("circle", { cx: round(cx), cy: round(cy), r: 2 }));
    return element("g", kind(each), element("path", { d: path(solid) }), ...broken, ...dots);
  });
  const names = order.map((each) =>
    element("g", kind(each), text(labels[each].x, labels[each].y, methods[each], labels[each].anchor)),
  );
  return [...lines, ...names];
}
