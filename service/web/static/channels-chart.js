/** The channels of the state along the depth: a row for each channel, coloured by how far it has moved since t = 0. */

import { valuesAt } from "./moment.js";

const COLUMNS = 101; // times at which a channel is drawn

/**
 * @param {import("./api.js").Reading[]} readings
 * @returns {number[][]} for each channel its change since t = 0 at each time, from -1 to 1 of the greatest change; the
 *   channel that grows most by t = 1 comes first
 */
export function changes(readings) {
  const begin = readings[0].channels;
  const times = Array.from({ length: COLUMNS }, (_, index) => index / (COLUMNS - 1));
  const at = times.map((t) => valuesAt(readings, t, "channels"));
  const rows = begin.map((first, channel) => at.map((values) => values[channel] - first));
  const greatest = Math.max(1e-9, ...rows.flat().map(Math.abs));
  return rows
    .sort((one, other) => other[COLUMNS - 1] - one[COLUMNS - 1])
    .map((row) => row.map((change) => change / greatest));
}

/**
 * Draw the channels in the colours of the page: the canvas's own colour where a channel has grown, and the colour of its
 * outline where it has shrunk.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {import("./api.js").Reading[]} readings empty to draw nothing
 */
export function drawChannels(canvas, readings) {
  const rows = readings.length ? changes(readings) : [[0]];
  Object.assign(canvas, { width: rows[0].length, height: rows.length });
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const { color, outlineColor } = getComputedStyle(canvas);
  for (const [y, row] of rows.entries()) {
    for (const [x, change] of row.entries()) {
      context.fillStyle = change < 0 ? outlineColor : color;
      context.globalAlpha = Math.abs(change);
      context.fillRect(x, y, 1, 1);
    }
  }
  const grown = rows.filter((row) => row[row.length - 1] > 0).length;
  const words = `${rows.length} channels of the state: ${grown} have grown by t = 1, ${rows.length - grown} have not`;
  canvas.setAttribute("aria-label", readings.length ? words : "Nothing yet");
}
