import assert from "node:assert/strict";
import { test } from "node:test";

import { agreementsOf, methodsOf, nearest } from "../../../service/web/static/tradeoff-chart.js";

/** @typedef {import("../../../service/web/static/tradeoff-chart.js").Point["solver"]} Setting */

/** @param {string} method @param {number} tolerance @returns {Setting} */
const adaptive = (method, tolerance) => ({ method, rtol: tolerance, atol: tolerance, steps: null });

/** @param {string} method @param {number} count @returns {Setting} */
const fixed = (method, count) => ({ method, rtol: null, atol: null, steps: count });

const settings = [
  fixed("euler", 1),
  fixed("euler", 4),
  fixed("rk4", 3),
  ...[10, 0.1, 0.001].map((tolerance) => adaptive("dopri5", tolerance)),
  adaptive("tsit5", 1),
];
const profile = {
  rows: 64,
  reference: adaptive("dopri5", 1e-9),
  ladders: [0.99639, 0.9994, 1].map((bound) => ({ bound })),
  points: settings.map((solver) => ({ solver, error: 0.01, agreement: 1, logit_deviation: 0.1, nfe: { mean: 12 } })),
};

test("the agreements on offer are never above the measured bounds", () => {
  assert.deepEqual(agreementsOf(profile), [0.9963, 0.9994, 1]);
});

test("the methods are listed once each, adaptive ones apart from those with a number of steps", () => {
  assert.deepEqual(methodsOf(profile), { adaptive: ["dopri5", "tsit5"], fixed: ["euler", "rk4"] });
});

test("the nearest point has the same method and the nearest number of steps", () => {
  assert.equal(nearest(profile, fixed("euler", 3)).solver, settings[1]);
  assert.equal(nearest(profile, fixed("rk4", 40)).solver, settings[2]);
});

test("the nearest tolerance is the one with the smallest ratio, not the smallest difference", () => {
  assert.equal(nearest(profile, adaptive("dopri5", 2)).solver, settings[3]);
  assert.equal(nearest(profile, adaptive("dopri5", 0.9)).solver, settings[4]);
});

test("the looser of two tolerances counts", () => {
  assert.equal(nearest(profile, { method: "dopri5", rtol: 1e-3, atol: 5, steps: null }).solver, settings[3]);
});
