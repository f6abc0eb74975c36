/** The controls of the solve: an agreement, a tolerance, a number of steps, or a deadline. */

import { number, percent } from "./format.js";

/**
 * @typedef {"agreement" | "tolerance" | "steps" | "deadline"} Mode
 * @typedef {{name: string, min: number, max: number, step: number, start: number, ends: [string, string],
 *   value: (position: number) => number, position: (value: number) => number, format: (value: number) => string,
 *   field: string}} Scale how the slider's position becomes the value of a field, and back; `ends` describes the values
 *   at its two ends
 */

/** @type {Record<Exclude<Mode, "agreement">, Scale>} */
const SCALES = {
  tolerance: {
    name: "Tolerance",
    min: -1,
    max: 6,
    step: 0.25,
    start: 0,
    ends: ["loose and fast", "tight and accurate"],
    value: (position) => Number((10 ** -position).toPrecision(2)),
    position: (value) => -Math.log10(value),
    format: number,
    field: "tolerance",
  },
  steps: {
    name: "Steps",
    min: 1,
    max: 40,
    step: 1,
    start: 2,
    ends: ["fast", "accurate"],
    value: (position) => position,
    position: (value) => value,
    format: String,
    field: "steps",
  },
  deadline: {
    name: "Deadline",
    min: 0,
    max: 2.5,
    step: 0.05,
    start: 1,
    ends: ["loose", "as tight as the time allows"],
    value: (position) => Number((10 ** position).toPrecision(2)),
    position: Math.log10,
    format: (value) => `${value} ms`,
    field: "deadline_ms",
  },
};
const ANY = "automatic"; // the service takes the method with the fewest evaluations
const EXPLANATION =
  "Each digit is first solved loosely. Only if the two greatest logits are close is it solved again, tightly. " +
  "The service promises at least this share of the digits that a tight solve of every image would give.";

/**
 * @param {number[]} agreements the agreements that a model offers, in ascending order
 * @returns {Scale} a position for each agreement; it starts at the greatest agreement below 1
 */
const agreementScale = (agreements) => ({
  name: "Agreement",
  min: 0,
  max: Math.max(0, agreements.length - 1),
  step: 1,
  start: Math.max(0, agreements.filter((each) => each < 1).length - 1),
  ends: ["few evaluations", "every digit tightly"],
  value: (position) => agreements[position] ?? 1,
  position: (value) => agreements.filter((each) => each < value).length,
  format: (value) => `≥ ${percent(value)}`,
  field: "agreement",
});

export class Controls {
  /**
   * @param {{modes: HTMLElement, method: HTMLSelectElement, slider: HTMLInputElement, name: HTMLElement,
   *   setting: HTMLElement, leftEnd: HTMLElement, rightEnd: HTMLElement, explanation: HTMLElement}} parts
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
      this.#choose(/** @type {Mode} */ (/** @type {HTMLInputElement} */ (event.target).value));
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
   * Offer what a model has.
   *
   * @param {{adaptive: string[], fixed: string[]}} methods the methods of the model; it may have no fixed one
   * @param {number[]} agreements the agreements that the model offers, in ascending order; may be empty
   */
  offer(methods, agreements) {
    this.methods = methods;
    this.scales.agreement = agreementScale(agreements);
    this.positions.agreement = this.scales.agreement.start;
    this.#radio("agreement").disabled = !agreements.length;
    this.#radio("steps").disabled = !methods.fixed.length;
    this.#choose(this.#radio(this.mode).disabled ? "tolerance" : this.mode);
  }

  /**
   * Set the controls to fields as `fields` gives them. A value between two positions of the slider becomes the nearest
   * one. Fields that no control has, and values that are not numbers, change nothing.
   *
   * @param {Record<string, string>} given
   */
  set(given) {
    const modes = /** @type {Mode[]} */ (Object.keys(this.scales));
    const mode = modes.find((each) => given[this.scales[each].field] && !this.#radio(each).disabled);
    if (!mode) return;
    const { min, max, step, position, field } = this.scales[mode];
    const wanted = min + step * Math.round((position(Number(given[field])) - min) / step);
    if (Number.isNaN(wanted)) return;
    this.positions[mode] = Math.max(min, Math.min(max, wanted));
    this.#choose(mode, given.method ?? "");
  }

  /** @returns {import("./api.js").Fields} */
  get fields() {
    const { field, value } = this.scales[this.mode];
    const method = this.parts.method.value;
    return { ...(method && { method }), [field]: value(this.positions[this.mode]) };
  }

  /** @param {Mode} mode @returns {HTMLInputElement} */
  #radio(mode) {
    return /** @type {HTMLInputElement} */ (this.parts.modes.querySelector(`[value=${mode}]`));
  }

  /** @param {Mode} mode @param {string} wanted the method to choose, if the mode offers it */
  #choose(mode, wanted = this.parts.method.value) {
    this.mode = mode;
    this.#radio(mode).checked = true;
    const { slider, method, leftEnd, rightEnd, explanation } = this.parts;
    const { name, min, max, step, ends, format, value } = this.scales[mode];
    Object.assign(slider, { min, max, step, value: this.positions[mode] });
    slider.setAttribute("aria-label", name);
    this.parts.name.textContent = name;
    leftEnd.textContent = `${format(value(min))}, ${ends[0]}`;
    rightEnd.textContent = `${format(value(max))}, ${ends[1]}`;
    explanation.hidden = mode !== "agreement";
    explanation.textContent = EXPLANATION;
    const any = ["", ...this.methods.adaptive];
    const values = { agreement: [""], tolerance: any, steps: this.methods.fixed, deadline: any }[mode];
    method.replaceChildren(...values.map((each) => new Option(each || ANY, each)));
    method.value = values.includes(wanted) ? wanted : values[0];
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
