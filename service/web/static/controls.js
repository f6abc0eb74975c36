/** What the user asks of the solve: a tolerance, a number of steps, or a deadline. */

import { counted, number } from "./format.js";

/**
 * @typedef {"tolerance" | "steps" | "deadline"} Mode
 * @typedef {{name: string, min: number, max: number, step: number, start: number, ends: [string, string],
 *   value: (place: number) => number, told: (value: number) => string, field: string}} Scale of the slider
 */

/** @type {Record<Mode, Scale>} */
const SCALES = {
  tolerance: {
    name: "Tolerance",
    min: -1,
    max: 6,
    step: 0.25,
    start: 0,
    ends: ["10, loose and fast", "10⁻⁶, tight and accurate"],
    value: (place) => Number((10 ** -place).toPrecision(2)),
    told: number,
    field: "tolerance",
  },
  steps: {
    name: "Number of steps",
    min: 1,
    max: 40,
    step: 1,
    start: 2,
    ends: ["1 step", "40 steps"],
    value: (place) => place,
    told: (value) => counted(value, "step"),
    field: "steps",
  },
  deadline: {
    name: "Deadline in milliseconds",
    min: 0,
    max: 2.5,
    step: 0.05,
    start: 1,
    ends: ["1 ms", "300 ms"],
    value: (place) => Number((10 ** place).toPrecision(2)),
    told: (value) => `${value} ms`,
    field: "deadline_ms",
  },
};
const ANY = "fewest NFE";

export class Controls {
  /**
   * @param {{modes: HTMLElement, method: HTMLSelectElement, slider: HTMLInputElement, setting: HTMLElement,
   *   leftEnd: HTMLElement, rightEnd: HTMLElement}} parts
   * @param {() => void} changed
   */
  constructor(parts, changed) {
    this.parts = parts;
    /** @type {{adaptive: string[], fixed: string[]}} */
    this.methods = { adaptive: [], fixed: [] };
    /** @type {Mode} */
    this.mode = "tolerance";
    this.places = Object.fromEntries(Object.entries(SCALES).map(([mode, scale]) => [mode, scale.start]));
    parts.modes.addEventListener("change", (event) => {
      this.#turn(/** @type {Mode} */ (/** @type {HTMLInputElement} */ (event.target).value));
      changed();
    });
    parts.slider.addEventListener("input", () => {
      this.places[this.mode] = Number(parts.slider.value);
      this.#tell();
      changed();
    });
    parts.method.addEventListener("change", changed);
  }

  /** @param {{adaptive: string[], fixed: string[]}} methods of the model */
  offer(methods) {
    this.methods = methods;
    this.#turn(this.mode);
  }

  /** @returns {import("./api.js").Fields} */
  get fields() {
    const { field, value } = SCALES[this.mode];
    const method = this.parts.method.value;
    return { ...(method && { method }), [field]: value(this.places[this.mode]) };
  }

  /** @param {Mode} mode */
  #turn(mode) {
    this.mode = mode;
    const { slider, method, leftEnd, rightEnd } = this.parts;
    const { name, min, max, step, ends } = SCALES[mode];
    Object.assign(slider, { min, max, step, value: this.places[mode] });
    slider.setAttribute("aria-label", name);
    [leftEnd.textContent, rightEnd.textContent] = ends;
    const values = mode === "steps" ? this.methods.fixed : ["", ...this.methods.adaptive];
    const kept = values.includes(method.value) ? method.value : values[0];
    method.replaceChildren(...values.map((each) => new Option(each || ANY, each)));
    method.value = kept;
    this.#tell();
  }

  #tell() {
    const { value, told, min, max } = SCALES[this.mode];
    const { slider, setting } = this.parts;
    const shown = told(value(this.places[this.mode]));
    setting.textContent = shown;
    slider.setAttribute("aria-valuetext", shown);
    slider.style.setProperty("--part", String((this.places[this.mode] - min) / (max - min)));
  }
}
