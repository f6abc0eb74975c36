// Answers each line of standard input, a profile and a setting as JSON, with the index of the page's nearest point.

import { createInterface } from "node:readline";

import { nearest } from "../../../service/web/static/tradeoff-chart.js";

/** @typedef {import("../../../service/web/static/tradeoff-chart.js").Profile} Profile */

for await (const line of createInterface({ input: process.stdin })) {
  /** @type {{profile: Profile, solver: Profile["reference"]}} */
  const { profile, solver } = JSON.parse(line);
  console.log(profile.points.indexOf(nearest(profile, solver)));
}
