import assert from "node:assert/strict";
import { test } from "node:test";

import { decades, linear, logarithmic, path, round, steps } from "../../../service/web/static/svg.js";

test("a linear scale maps both ends and the middle", () => {
  const scale = linear(2, 6, 100, 0);
  assert.deepEqual([2, 4, 6].map(scale), [100, 50, 0]);
});

test("a logarithmic scale maps equal ratios to equal distances", () => {
  const scale = logarithmic(0.01, 100, 0, 400);
  assert.deepEqual([0.01, 0.1, 1, 10, 100].map(scale).map(Math.round), [0, 100, 200, 300, 400]);
});

test("a path joins its points, rounded to two decimal places", () => {
  assert.equal(path([[1, 2.345678], [3, 4]]), "M1 2.35L3 4"); // biome-ignore format: one point next to the other
  assert.equal(round(1.005001), 1.01);
});

test("the decades are the powers of ten within the range, its ends included", () => {
  assert.deepEqual(decades(0.01, 10), [0.01, 0.1, 1, 10]);
  assert.deepEqual(decades(0.02, 9), [0.1, 1]);
  assert.deepEqual(decades(2, 9), []);
});

test("the ticks of an axis are at most six round numbers within the range", () => {
  assert.deepEqual(steps(0, 5), [0, 1, 2, 3, 4, 5]);
  assert.deepEqual(steps(-7, 13), [-5, 0, 5, 10]);
  for (const range of [1, 9, 33, 120, 999]) assert.ok(steps(-range / 3, range).length <= 6);
});
