/** The drawing area: strokes of a pointer or a picture, with undo. */

/**
 * @typedef {{x: number, y: number}[]} Stroke points in fractions of the side, 0..1
 * @typedef {{strokes: Stroke[], shown: CanvasImageSource | null, file: import("./api.js").Picture | null,
 *   ink?: boolean}} Sheet the content of the pad: strokes, or a picture, which is shown in the colour of ink if `ink`
 *   is set
 */

const SIDE = 112; // pixels, of the picture that is sent. The service decodes it in a third of the time that 280 take.
const PEN = 0.075; // the width of a stroke, as a fraction of the side
/** @type {Sheet} */
const BLANK = { strokes: [], shown: null, file: null };
const HISTORY = 100; // sheets that undo can return to

export class Pad {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {() => void} changed called when the pad has another sheet
   * @param {() => void} grown called when the last stroke has grown
   */
  constructor(canvas, changed, grown) {
    this.canvas = canvas;
    this.changed = changed;
    this.grown = grown;
    /** @type {Sheet[]} */
    this.past = [];
    this.sheet = BLANK;
    /** @type {Stroke | null} */
    this.stroke = null;
    /** @type {number | null} the pointer that draws the stroke; others, such as a palm, are ignored meanwhile */
    this.pointer = null;
    this.frame = 0;
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    canvas.addEventListener("pointerup", (event) => this.#up(event));
    canvas.addEventListener("pointercancel", (event) => this.#up(event));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.paint());
    this.paint();
  }

  get blank() {
    return !this.sheet.strokes.length && !this.sheet.shown;
  }

  get undoable() {
    return this.past.length > 0;
  }

  /** @param {Sheet} sheet */
  put(sheet) {
    this.past = [...this.past.slice(1 - HISTORY), this.sheet];
    this.#replace(sheet);
  }

  clear() {
    if (!this.blank) this.put(BLANK);
  }

  undo() {
    const sheet = this.stroke ? null : this.past.pop();
    if (sheet) this.#replace(sheet);
  }

  /** @returns {Promise<import("./api.js").Picture | null>} the content of the pad; null if it is blank */
  async picture() {
    if (this.blank) return null;
    if (this.sheet.file) return this.sheet.file;
    const canvas = new OffscreenCanvas(SIDE, SIDE);
    const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d"));
    context.fillRect(0, 0, SIDE, SIDE);
    write(context, this.sheet.strokes, SIDE, "white");
    return { body: await canvas.convertToBlob({ type: "image/png" }), label: null };
  }

  /** Paint the sheet in the colours of the page. */
  paint() {
    const side = this.canvas.width;
    const context = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d"));
    context.clearRect(0, 0, side, side);
    if (this.sheet.shown) contain(context, this.sheet.shown, side);
    const colour = getComputedStyle(this.canvas).color;
    if (this.sheet.ink) {
      Object.assign(context, { globalCompositeOperation: "source-in", fillStyle: colour });
      context.fillRect(0, 0, side, side);
      context.globalCompositeOperation = "source-over";
    }
    write(context, this.sheet.strokes, side, colour);
  }

  /** @param {Sheet} sheet */
  #replace(sheet) {
    this.sheet = sheet;
    this.paint();
    this.changed();
  }

  /** @param {PointerEvent} event */
  #down(event) {
    if (event.button !== 0 || this.stroke) return;
    event.preventDefault();
    this.canvas.setPointerCapture(event.pointerId);
    this.pointer = event.pointerId;
    this.stroke = [this.#point(event)];
    this.put({ strokes: [...this.sheet.strokes, this.stroke], shown: null, file: null });
  }

  /** @param {PointerEvent} event */
  #move(event) {
    if (!this.stroke || event.pointerId !== this.pointer) return;
    const events = event.getCoalescedEvents?.() ?? [];
    for (const each of events.length ? events : [event]) this.stroke.push(this.#point(each));
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.paint();
      this.grown();
    });
  }

  /** @param {PointerEvent} event */
  #up(event) {
    if (event.pointerId !== this.pointer) return;
    this.stroke = this.pointer = null;
    this.grown();
  }

  /** @param {PointerEvent} event */
  #point(event) {
    const box = this.canvas.getBoundingClientRect();
    return { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height };
  }
}

/**
 * @param {CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D} context
 * @param {Stroke[]} strokes
 * @param {number} side
 * @param {string} colour
 */
function write(context, strokes, side, colour) {
  Object.assign(context, { lineWidth: PEN * side, lineCap: "round", lineJoin: "round", strokeStyle: colour });
  for (const stroke of strokes) {
    const at = stroke.map(({ x, y }) => ({ x: x * side, y: y * side }));
    context.beginPath();
    context.moveTo(at[0].x, at[0].y);
    // The curve goes through the midpoints, and the points control it. Such a curve has no corners.
    for (let i = 1; i < at.length; i++) {
      context.quadraticCurveTo(at[i - 1].x, at[i - 1].y, (at[i - 1].x + at[i].x) / 2, (at[i - 1].y + at[i].y) / 2);
    }
    const last = at[at.length - 1];
    context.lineTo(last.x + 0.01, last.y); // a touch without movement would have no length, and so be invisible
    context.stroke();
  }
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {CanvasImageSource} image
 * @param {number} side
 */
function contain(context, image, side) {
  const { width, height } = /** @type {{width: number, height: number}} */ (image);
  const scale = side / Math.max(width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(image, (side - width * scale) / 2, (side - height * scale) / 2, width * scale, height * scale);
}
