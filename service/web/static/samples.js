/** Sample digits: tiles of one picture, shown as radio buttons. */

import { ask } from "./api.js";

const SIDE = 28;

/**
 * Fill a fieldset with the digits.
 *
 * @param {HTMLElement} fieldset
 * @param {(sheet: import("./pad.js").Sheet) => void} take called with the digit that is picked
 * @returns {Promise<{begin: () => void, mark: (sheet: import("./pad.js").Sheet) => void}>}
 *   `begin` picks the first digit to show; `mark` checks the button of the digit that a sheet was made from, if any
 */
export async function offer(fieldset, take) {
  const source = new URL("digits.png", import.meta.url).href;
  /** @type {{labels: number[], columns: number, easy: number, begin: number}} */
  const list = await (await ask(new URL("digits.json", import.meta.url).href)).json();
  const sprite = await createImageBitmap(await (await ask(source)).blob());
  const rows = sprite.height / SIDE;
  /** @type {WeakMap<import("./pad.js").Sheet, HTMLInputElement>} */
  const origins = new WeakMap();
  const inputs = list.labels.map((label, number) => {
    const [column, row] = [number % list.columns, Math.floor(number / list.columns)];
    const tile = document.createElement("label");
    const input = document.createElement("input");
    const picture = document.createElement("span");
    const name = `Digit ${label}${number < list.easy ? "" : ", hard to read"}`;
    Object.assign(input, { type: "radio", name: "sample", value: String(number), title: name });
    input.setAttribute("aria-label", name);
    picture.className = "tile";
    picture.style.backgroundImage = `url("${source}")`;
    picture.style.backgroundSize = `${100 * list.columns}% ${100 * rows}%`;
    picture.style.backgroundPosition = `${(100 * column) / (list.columns - 1)}% ${(100 * row) / (rows - 1)}%`;
    input.addEventListener("change", () => {
      const picked = sheet(sprite, column * SIDE, row * SIDE, label);
      origins.set(picked, input);
      take(picked);
    });
    tile.append(input, picture);
    fieldset.append(tile);
    return input;
  });
  return {
    begin: () => inputs[list.begin].click(),
    mark: (sheet) => {
      for (const input of inputs) input.checked = origins.get(sheet) === input;
    },
  };
}

/**
 * @param {ImageBitmap} sprite
 * @param {number} x
 * @param {number} y
 * @param {number} label
 * @returns {import("./pad.js").Sheet} a sheet that sends exactly these pixels
 */
function sheet(sprite, x, y, label) {
  const canvas = new OffscreenCanvas(SIDE, SIDE);
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.drawImage(sprite, -x, -y);
  const pixels = context.getImageData(0, 0, SIDE, SIDE);
  const levels = pixels.data.filter((_, index) => index % 4 === 0);
  for (const [index, level] of levels.entries()) pixels.data[4 * index + 3] = level;
  context.putImageData(pixels, 0, 0);
  const file = { body: new Blob([levels], { type: "application/octet-stream" }), label };
  return { strokes: [], shown: canvas, ink: true, file };
}
