/** Pictures that the user drops, pastes, chooses or photographs. */

const ACCEPTED = ["image/png", "image/jpeg"];
const MAX_BYTES = 2 * 2 ** 20; // of a picture that is sent unchanged
const MAX_PIXELS = 1e6; // likewise
const SIDE = 1000; // pixels; larger pictures are scaled down to this
const PIXELS = 28; // the side of the image that the network sees

/**
 * Call `take` with each picture that the user gives.
 *
 * @param {HTMLElement} area is highlighted while a picture is dragged over the page
 * @param {HTMLInputElement[]} inputs let the user choose a file
 * @param {(file: Blob) => void} take
 */
export function watch(area, inputs, take) {
  for (const input of inputs) {
    input.addEventListener("change", () => {
      if (input.files?.[0]) take(input.files[0]);
      input.value = ""; // so that the same file can be chosen again
    });
  }
  document.addEventListener("paste", (event) => {
    const file = event.clipboardData?.files[0];
    if (file) take(file);
  });
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    area.classList.add("over");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) area.classList.remove("over");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    area.classList.remove("over");
    const file = event.dataTransfer?.files[0];
    if (file) take(file);
  });
}

/**
 * A file as a sheet of the pad. A file that the browser cannot read is sent unchanged: the service says what is wrong.
 *
 * @param {Blob} file
 * @returns {Promise<import("./pad.js").Sheet>}
 */
export async function read(file) {
  const type = ACCEPTED.includes(file.type) ? file.type : "image/png";
  const shown = await createImageBitmap(file).catch(() => null);
  const small = file.size <= MAX_BYTES && shown && shown.width * shown.height <= MAX_PIXELS;
  const body = shown && !(small && type === file.type) ? await scaled(shown) : new Blob([file], { type });
  return { strokes: [], shown: shown ?? document.createElement("canvas"), file: { body, label: null } };
}

/**
 * @param {Uint8Array} levels 28 times 28 grey levels, white ink on black
 * @param {number | null} label the true digit, if it is known
 * @returns {import("./pad.js").Sheet} a sheet that sends exactly these pixels
 */
export function sheetOf(levels, label) {
  const canvas = new OffscreenCanvas(PIXELS, PIXELS);
  const pixels = new ImageData(PIXELS, PIXELS);
  for (const [index, level] of levels.entries()) pixels.data[4 * index + 3] = level;
  /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d")).putImageData(pixels, 0, 0);
  const file = { body: new Blob([new Uint8Array(levels)], { type: "application/octet-stream" }), label };
  return { strokes: [], shown: canvas, ink: true, file };
}

/** @param {ImageBitmap} image @returns {Promise<Blob>} a JPEG whose sides have at most 1000 pixels */
async function scaled(image) {
  const scale = Math.min(1, SIDE / Math.max(image.width, image.height));
  const canvas = new OffscreenCanvas(Math.ceil(image.width * scale), Math.ceil(image.height * scale));
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.fillStyle = "white"; // paper behind transparent pixels
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  return canvas.convertToBlob({ type: "image/jpeg", quality: 0.9 });
}
