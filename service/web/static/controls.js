/** The controls of the solve: an agreement, a tolerance, a number of steps, or a deadline. */

import { counted, number, percent } from "./format.js";

/**
 * @typedef {"agreement" | "tolerance" | "steps" | "deadline"} Mode
 * @typedef {{name: string, min: number, max: number, step: number, start: number, ends: [string, string],
 *   value: (position: number) => number, format: (value: number) => string, field: string}} Scale how the slider's
 *   position becomes the value of a field
 */

/** @type {Record<Exclude<Mode, "agreement">, Scale>} */
const SCALES = {
  tolerance: {
    name: "Tolerance",
    min: -1,
    max: 6,
    step: 0.25,
    start: 0,
    ends: ["10, loose and fast", "10⁻⁶, tight and accurate"],
    value: (position) => Number((10 ** -position).toPrecision(2)),
    format: number,
    field: "tolerance",
  },
  steps: {
    name: "Number of steps",
    min: 1,
    max: 40,
    step: 1,
    start: 2,
    ends: ["1 step", "40 steps"],
    value: (position) => position,
    format: (value) => counted(value, "step"),
    field: "steps",
  },
  deadline: {
    name: "Deadline in milliseconds",
    min: 0,
    max: 2.5,
    step: 0.05,
    start: 1,
    ends: ["1 ms", "300 ms"],
    value: (position) => Number((10 ** position).toPrecision(2)),
    format: (value) => `${value} ms`,
    field: "deadline_ms",
  },
};
const ANY = "fewest NFE";
const EXPLANATION =
  "Each digit is first solved loosely. Only if the two greatest logits are close is it solved again, tightly. " +
  "The service promises at least this share of the digits that a tight solve of every image would give.";

/**
 * @param {number[]} agreements the agreements that a model offers, in ascending order
 * @returns {Scale} a position for each agreement; it starts at the greatest agreement below 1
 */
const agreementScale = (agreements) => ({
  name: "Agreement with a tight solve",
  min: 0,
  max: Math.max(0, agreements.length - 1),
  step: 1,
  start: Math.max(0, agreements.filter((each) => each < 1).length - 1),
  ends: ["fewest evaluations", "every digit tightly"],
  value: (position) => agreements[position] ?? 1,
  format: (value) => `≥ ${percent(value)}`,
  field: "agreement",
});

export class Controls {
  /**
   * @param {{modes: HTMLElement, method: HTMLSelectElement, slider: HTMLInputElement, setting: HTMLElement,
   *   leftEnd: HTMLElement, rightEnd: HTMLElement, explanation: HTMLElement}} parts
   * @param {() => void} changed
   */
  constructor(parts, changed) {
    this.parts = parts;
    /** @type {{adaptive: string[], fixed: string[]}} */
    this.methods = { adaptive: [], fixed: [] };
    /** @type {Mode} */
    this.mode = "tolerance";
    this.scales = { ...SCALES, agreement: agreementScale([]) };
    /** @type {Record<string, number>} */
    this.positions = Object.fromEntries(Object.entries(this.scales).map(([mode, scale]) => [mode, scale.start]));
    parts.modes.addEventListener("change", (event) => {
      this.#show(/** @type {Mode} */ (/** @type {HTMLInputElement} */ (event.target).value));
      changed();
    });
    parts.slider.addEventListener("input", () => {
      this.positions[this.mode] = Number(parts.slider.value);
      this.#showValue();
      changed();
    });
    parts.method.addEventListener("change", changed);
  }

  /**
   * @param {{adaptive: string[], fixed: string[]}} methods the methods of the model
   * @param {number[]} agreements the agreements that the model offers, in ascending order; may be empty
   */
  offer(methods, agreements) {
    this.methods = methods;
    this.scales.agreement = agreementScale(agreements);
    this.positions.agreement = this.scales.agreement.start;
    const radio = /** @type {HTMLInputElement} */ (this.parts.modes.querySelector("[value=agreement]"));
    radio.disabled = !agreements.length;
    if (radio.disabled && radio.checked) {
      /** @type {HTMLInputElement} */ (this.parts.modes.querySelector("[value=tolerance]")).checked = true;
      this.mode = "tolerance";
    }
    this.#show(this.mode);
  }

  /** @returns {import("./api.js").Fields} */
  get fields() {
    const { field, value } = this.scales[this.mode];
    const method = this.parts.method.value;
    return { ...(method && { method }), [field]: value(this.positions[this.mode]) };
  }

  /** @param {Mode} mode */
  #show(mode) {
    this.mode = mode;
    const { slider, method, leftEnd, rightEnd, explanation } = this.parts;
    const { name, min, max, step, ends } = this.scales[mode];
    Object.assign(slider, { min, max, step, value: this.positions[mode] });
    slider.setAttribute("aria-label", name);
    [leftEnd.textContent, rightEnd.textContent] = ends;
    explanation.hidden = mode !== "agreement";
    explanation.textContent = EXPLANATION;
    const any = ["", ...this.methods.adaptive];
    const values = { agreement: [""], tolerance: any, steps: this.methods.fixed, deadline: any }[mode];
    const kept = values.includes(method.value) ? method.value : values[0];
    method.replaceChildren(...values.map((each) => new Option(each || ANY, each)));
    method.value = kept;
    this.#showValue();
  }

  #showValue() {
    const { value, format, min, max } = this.scales[this.mode];
    const { slider, setting } = this.parts;
    const shown = format(value(this.positions[this.mode]));
    setting.textContent = shown;
    slider.setAttribute("aria-valuetext", shown);
    slider.style.setProperty("--part", String((this.positions[this.mode] - min) / (max - min || 1)));
  }
}
