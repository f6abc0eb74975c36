import assert from "node:assert/strict";
import { test } from "node:test";

import { rates, totals } from "../../../service/web/static/load.js";

test("a metric is summed over its labels", () => {
  const text =
    '# HELP odenet_rows_total images\nodenet_rows_total{model="a"} 2.0\nodenet_rows_total{model="b}"} 3e1\nx 1\n';
  assert.deepEqual(totals(text), { odenet_rows_total: 32 });
});

test("rates are the changes between two looks", () => {
  const before = { odenet_rows_total: 10, odenet_batch_rows_sum: 5, odenet_batch_rows_count: 5 };
  const after = {
    odenet_rows_total: 30,
    odenet_batch_rows_sum: 35,
    odenet_batch_rows_count: 15,
    odenet_degraded_total: 5,
    odenet_rows_queued: 7,
    odenet_queue_seconds_sum: 0.5,
    odenet_queue_seconds_count: 10,
  };
  const expected = { speed: 10, batch: 3, waiting: 7, loosened: 0.25, refused: 0, wait: 50 };
  assert.deepEqual(rates(before, after, 2), expected);
  assert.ok(Number.isNaN(rates(after, after, 1).batch));
});
