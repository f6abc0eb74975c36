import assert from "node:assert/strict";
import { test } from "node:test";

import { read, write } from "../../../service/web/static/address.js";

const fields = { model: "odenet-mnist", method: "dopri5", tolerance: 0.001 };
const levels = Uint8Array.from({ length: 784 }, (_, index) => (index * 37) % 256);

test("an address names the setting and one of the page's digits", async () => {
  assert.equal(await write(fields, 10, levels), "#model=odenet-mnist&method=dopri5&tolerance=0.001&digit=10");
  assert.deepEqual(await read("#tolerance=0.5&digit=3"), {
    model: null,
    digit: 3,
    levels: null,
    settings: { tolerance: "0.5" },
  });
});

test("an address holds an image that is none of the page's digits, without loss", async () => {
  const address = await write(fields, null, levels);
  assert.match(address, /^#[\w=&.-]+$/);
  assert.deepEqual(await read(address), {
    model: "odenet-mnist",
    digit: null,
    levels,
    settings: { method: "dopri5", tolerance: "0.001" },
  });
});

test("whatever cannot be read is left out", async () => {
  for (const wrong of ["#image=AAAA", "#image=%20!", "#digit=-1", "#digit=x", "#", ""]) {
    const view = await read(wrong);
    assert.deepEqual([view.digit, view.levels, view.settings], [null, null, {}], wrong);
  }
});
