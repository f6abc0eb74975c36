/** Pictures that are dropped, pasted, chosen or photographed. */

const TAKEN = ["image/png", "image/jpeg"];
const LARGEST = 2 * 2 ** 20; // bytes that are sent as they are,
const MOST = 1e6; // and pixels
const SIDE = 1000; // to which larger pictures are scaled down

/**
 * Call with each picture that the user gives.
 *
 * @param {HTMLElement} area where one may be dropped
 * @param {HTMLInputElement[]} inputs in which one may be chosen
 * @param {(file: Blob) => void} take
 */
export function watch(area, inputs, take) {
  for (const input of inputs) {
    input.addEventListener("change", () => {
      if (input.files?.[0]) take(input.files[0]);
      input.value = ""; // so that the same may be chosen again
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
 * A file as a sheet of the pad. What the browser cannot read is sent as it is: the service says what is wrong with it.
 *
 * @param {Blob} file
 * @returns {Promise<import("./pad.js").Sheet>}
 */
export async function read(file) {
  const type = TAKEN.includes(file.type) ? file.type : "image/png";
  const shown = await createImageBitmap(file).catch(() => null);
  const small = file.size <= LARGEST && shown && shown.width * shown.height <= MOST;
  const body = shown && !(small && type === file.type) ? await scaled(shown) : new Blob([file], { type });
  return { strokes: [], shown: shown ?? document.createElement("canvas"), file: { body, label: null } };
}

/** @param {ImageBitmap} image @returns {Promise<Blob>} no larger than it need be */
async function scaled(image) {
  const scale = Math.min(1, SIDE / Math.max(image.width, image.height));
  const canvas = new OffscreenCanvas(Math.ceil(image.width * scale), Math.ceil(image.height * scale));
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.fillStyle = "white"; // the paper behind what is transparent
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  return canvas.convertToBlob({ type: "image/jpeg", quality: 0.9 });
}
