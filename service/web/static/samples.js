/** Sample digits: tiles of one picture, shown as radio buttons. */

import { ask } from "./api.js";
import { sheetOf } from "./pictures.js";

const SIDE = 28;

/**
 * Fill a fieldset with the digits.
 *
 * @param {HTMLElement} fieldset
 * @param {(sheet: import("./pad.js").Sheet) => void} take called with the digit that is picked
 * @returns {Promise<{begin: () => void, pick: (number: number) => void,
 *   mark: (sheet: import("./pad.js").Sheet) => number | null}>}
 *   `begin` picks the first digit to show; `pick` picks a digit by its number, if there is one; `mark` checks the button
 *   of the digit that a sheet was made from, and returns its number, if any
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
      const picked = sheetOf(tileOf(sprite, column * SIDE, row * SIDE), label);
      origins.set(picked, input);
      take(picked);
    });
    tile.append(input, picture);
    fieldset.append(tile);
    return input;
  });
  return {
    begin: () => inputs[list.begin].click(),
    pick: (number) => inputs[number]?.click(),
    mark: (sheet) => {
      for (const input of inputs) input.checked = origins.get(sheet) === input;
      const marked = inputs.findIndex((input) => input.checked);
      return marked < 0 ? null : marked;
    },
  };
}

/** @param {ImageBitmap} sprite @param {number} x @param {number} y @returns {Uint8Array} the grey levels of a tile */
function tileOf(sprite, x, y) {
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (new OffscreenCanvas(SIDE, SIDE).getContext("2d"));
  context.drawImage(sprite, -x, -y);
  return Uint8Array.from(context.getImageData(0, 0, SIDE, SIDE).data.filter((_, index) => index % 4 === 0));
}
