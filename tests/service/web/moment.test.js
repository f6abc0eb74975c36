import assert from "node:assert/strict";
import { test } from "node:test";

import { changes } from "../../../service/web/static/channels-chart.js";
import { leader, valuesAt } from "../../../service/web/static/moment.js";

const readings = [
  { t: 0, logits: [0, 1], channels: [1, 0, 5] },
  { t: 0.25, logits: [2, 1], channels: [1, -1, 5] },
  { t: 1, logits: [5, 1], channels: [3, -4, 5] },
];

test("values are exact at the readings, and on straight lines between them", () => {
  assert.deepEqual(valuesAt(readings, 0, "logits"), [0, 1]);
  assert.deepEqual(valuesAt(readings, 0.125, "logits"), [1, 1]);
  assert.deepEqual(valuesAt(readings, 0.25, "channels"), [1, -1, 5]);
  assert.deepEqual(valuesAt(readings, 1, "channels"), [3, -4, 5]);
});

test("beyond the last reading of a solve that stopped early, its values stay", () => {
  assert.deepEqual(valuesAt(readings.slice(0, 2), 0.9, "logits"), [2, 1]);
  assert.deepEqual(valuesAt(readings.slice(0, 1), 0.9, "logits"), [0, 1]);
});

test("the digit that leads is named with its margin", () => {
  assert.equal(leader([0, 7, 6.5], 0.5), "At t = 0.50, 1 leads 2 by a margin of 0.5.");
});

test("the channels are ordered by their change, which is relative to the greatest one", () => {
  const rows = changes(readings);
  assert.deepEqual(rows.map((row) => [row[0], row.at(-1)]), [[0, 0.5], [0, 0], [0, -1]]); // biome-ignore format: a table
});
