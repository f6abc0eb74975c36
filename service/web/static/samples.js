/** Digits to pick: tiles of one picture, as radio buttons. */

import { ask } from "./api.js";

const SIDE = 28;

/**
 * Fill a fieldset with the digits.
 *
 * @param {HTMLElement} fieldset
 * @param {(sheet: import("./pad.js").Sheet) => void} take called with the one that is picked
 * @returns {Promise<{begin: () => void, mark: (sheet: import("./pad.js").Sheet) => void}>}
 *   to pick the one to begin with, and to have that one picked, if any, which a sheet was made from
 */
export async function offer(fieldset, take) {
  const source = new URL("digits.png", import.meta.url).href;
  /** @type {{labels: number[], columns: number, easy: number, begin: number}} */
  const told = await (await ask(new URL("digits.json", import.meta.url).href)).json();
  const sprite = await createImageBitmap(await (await ask(source)).blob());
  const rows = sprite.height / SIDE;
  /** @type {WeakMap<import("./pad.js").Sheet, HTMLInputElement>} */
  const origins = new WeakMap();
  const inputs = told.labels.map((label, number) => {
    const [column, row] = [number % told.columns, Math.floor(number / told.columns)];
    const tile = document.createElement("label");
    const input = document.createElement("input");
    const picture = document.createElement("span");
    const name = `Digit ${label}${number < told.easy ? "" : ", hard to read"}`;
    Object.assign(input, { type: "radio", name: "sample", value: String(number), title: name });
    input.setAttribute("aria-label", name);
    picture.className = "tile";
    picture.style.backgroundImage = `url("${source}")`;
    picture.style.backgroundSize = `${100 * told.columns}% ${100 * rows}%`;
    picture.style.backgroundPosition = `${(100 * column) / (told.columns - 1)}% ${(100 * row) / (rows - 1)}%`;
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
    begin: () => inputs[told.begin].click(),
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
 * @returns {import("./pad.js").Sheet} whose very pixels are sent
 */
function sheet(sprite, x, y, label) {
  const canvas = new OffscreenCanvas(SIDE, SIDE);
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.drawImage(sprite, -x, -y);
  const pixels = context.getImageData(0, 0, SIDE, SIDE);
  const levels = pixels.data.filter((_, place) => place % 4 === 0);
  for (const [place, level] of levels.entries()) pixels.data[4 * place + 3] = level;
  context.putImageData(pixels, 0, 0);
  const file = { body: new Blob([levels], { type: "application/octet-stream" }), label };
  return { strokes: [], shown: canvas, ink: true, file };
}
