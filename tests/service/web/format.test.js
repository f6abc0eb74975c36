import assert from "node:assert/strict";
import { test } from "node:test";

import { counted, milliseconds, number, percent, setting } from "../../../service/web/static/format.js";

test("a number has two significant digits", () => {
  assert.equal(number(0), "0");
  assert.equal(number(12.34), "12");
  assert.equal(number(0.0123), "0.012");
  assert.equal(number(-3.21), "-3.2");
});

test("a small number is written with a power of ten", () => {
  assert.equal(number(1e-6), "10⁻⁶");
  assert.equal(number(0.00123), "1.2 × 10⁻³");
  assert.equal(number(-4e-12), "-4 × 10⁻¹²");
});

test("a share is 0 % or 100 % only if it is exactly so", () => {
  assert.equal(percent(0), "0.0 %");
  assert.equal(percent(1), "100.0 %");
  assert.equal(percent(1e-9), "< 0.1 %");
  assert.equal(percent(1 - 1e-9), "> 99.99 %");
  assert.equal(percent(0.9995), "99.95 %");
  assert.equal(percent(0.123), "12.3 %");
});

test("a duration has a decimal place only below 10 ms, and is a dash if it is unknown", () => {
  assert.equal(milliseconds(1.26), "1.3 ms");
  assert.equal(milliseconds(12.6), "13 ms");
  assert.equal(milliseconds(Number.NaN), "–");
});

test("a noun has an s unless there is one", () => {
  assert.equal(counted(1, "step"), "1 step");
  assert.equal(counted(0, "step"), "0 steps");
  assert.equal(counted(2, "step"), "2 steps");
});

test("a setting names the method with its steps or its tolerances", () => {
  assert.equal(setting({ method: "euler", rtol: null, atol: null, steps: 1 }), "euler, 1 step");
  assert.equal(setting({ method: "dopri5", rtol: 0.1, atol: 0.1, steps: null }), "dopri5 at 0.1");
  assert.equal(setting({ method: "tsit5", rtol: 1e-3, atol: 1e-6, steps: null }), "tsit5 at 10⁻³ and 10⁻⁶");
});
