import assert from "node:assert/strict";
import { test } from "node:test";

import { Refusal, Unreachable } from "../../../service/web/static/api.js";
import { isOfPicture, kindly, retryAfter } from "../../../service/web/static/messages.js";

/** @param {number} status @param {string} field @param {number | null} [seconds] */
const refusal = (status, field, seconds = null) =>
  new Refusal(status, { detail: "the detail", errors: [{ field, message: "the reason", value: "7" }] }, seconds);

test("a message quotes the field's reason and value, or the detail if no field is named", () => {
  assert.match(kindly(refusal(404, "model")), /the reason \(it is 7\)/);
  assert.match(kindly(new Refusal(500, { detail: "the detail" }, null)), /the detail$/);
  assert.match(kindly(new Refusal(500, {}, null)), /status 500$/);
});

test("an unreadable picture and a refused setting have different messages", () => {
  for (const unreadable of [refusal(400, "body"), refusal(413, "body"), refusal(422, "body")]) {
    assert.ok(isOfPicture(unreadable));
    assert.match(kindly(unreadable), /picture/);
  }
  for (const other of [refusal(422, "tolerance"), refusal(429, "queue"), new Unreachable(), new Error("a bug")]) {
    assert.ok(!isOfPicture(other));
    assert.doesNotMatch(kindly(other), /picture/);
  }
});

test("a limit of the service and a limit of an API key have different messages", () => {
  assert.match(kindly(refusal(429, "queue", 3)), /busy.* 3 s/);
  assert.doesNotMatch(kindly(refusal(429, "x-api-key", 3)), /busy/);
});

test("a request is repeated only if the service is busy or stopping", () => {
  assert.equal(retryAfter(refusal(429, "queue", 3)), 3);
  assert.equal(retryAfter(refusal(429, "queue")), 1);
  assert.equal(retryAfter(refusal(503, "service")), 2);
  assert.equal(retryAfter(refusal(422, "tolerance")), null);
  assert.equal(retryAfter(new Unreachable()), null);
});
