import assert from "node:assert/strict";
import { test } from "node:test";

import { apart, beside } from "../../../service/web/static/labels.js";

test("labels that are far enough apart stay where they are", () => {
  assert.deepEqual(apart([30, 10, 50], 13, 0, 100), [30, 10, 50]);
});

test("labels that overlap move apart in their order, as little as possible, and stay within the range", () => {
  assert.deepEqual(apart([20, 20, 20], 10, 0, 100), [10, 20, 30]);
  assert.deepEqual(apart([40, 20, 41], 3, 0, 100), [39, 20, 42]);
  assert.deepEqual(apart([95, 99], 10, 0, 100), [90, 100]);
  assert.deepEqual(apart([-5, 3], 10, 0, 100), [0, 10]);
});

test("a label stands right of its point, or on a side where it covers no line", () => {
  const label = { x: 50, y: 50, words: "rk4" };
  assert.deepEqual(beside([label], [], 100, 100), [{ x: 58, y: 54, anchor: "start" }]);
  const above = [[[55, 50], [100, 50]]]; // biome-ignore format: one line
  assert.deepEqual(beside([label], above, 100, 100), [{ x: 58, y: 41, anchor: "start" }]);
  const left = [[[60, 0], [60, 100]]]; // biome-ignore format: one line
  assert.deepEqual(beside([label], left, 100, 100), [{ x: 42, y: 54, anchor: "end" }]);
});

test("labels at the same point or at the edge do not overlap, and stay in the chart", () => {
  const labels = ["bosh3", "tsit5"].map((words) => ({ x: 95, y: 70, words }));
  const [one, other] = beside(labels, [], 100, 100);
  assert.deepEqual([one.anchor, other.anchor], ["end", "end"]);
  assert.ok(Math.abs(one.y - other.y) >= 12);
});
