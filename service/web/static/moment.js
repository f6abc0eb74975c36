/** A moment of the solve: the reader moves along t, and sees the state's channels and the logits there. */

import { number } from "./format.js";

const DURATION = 2500; // milliseconds that the player takes from t = 0 to t = 1

/** @typedef {import("./api.js").Reading} Reading */

/**
 * @param {Reading[]} readings in ascending order of t
 * @param {number} t
 * @param {"logits" | "channels"} name
 * @returns {number[]} the values at t, interpolated linearly between two readings
 */
export function valuesAt(readings, t, name) {
  const after = Math.max(
    1,
    readings.findIndex((reading) => reading.t >= t),
  );
  const [from, to] = [readings[after - 1], readings[after] ?? readings[after - 1]];
  const share = to.t > from.t ? Math.min(1, Math.max(0, (t - from.t) / (to.t - from.t))) : 0;
  return from[name].map((value, index) => value + share * (to[name][index] - value));
}

/** @param {number[]} logits @param {number} t @returns {string} which digit leads at t, and by how much */
export function leader(logits, t) {
  const [first, second] = [...logits.keys()].sort((one, other) => logits[other] - logits[one]);
  const margin = number(logits[first] - logits[second]);
  return `At t = ${t.toFixed(2)}, ${first} leads ${second} by a margin of ${margin}.`;
}

export class Moment {
  /**
   * @param {{slider: HTMLInputElement, play: HTMLButtonElement, words: HTMLElement, charts: HTMLElement}} parts
   * @param {(t: number) => void} changed called with each new time
   */
  constructor(parts, changed) {
    this.parts = parts;
    this.changed = changed;
    this.frame = 0;
    /** @type {Reading[]} */
    this.readings = [];
    parts.slider.addEventListener("input", () => {
      this.#stop();
      this.#show();
    });
    parts.play.addEventListener("click", () => (this.frame ? this.#stop() : this.#play()));
  }

  get t() {
    return Number(this.parts.slider.value);
  }

  /** @param {Reading[]} readings of the newest solve; empty if there is none */
  show(readings) {
    this.readings = readings;
    this.parts.play.disabled = this.parts.slider.disabled = !readings.length;
    this.#show();
  }

  #show() {
    const { slider, words, charts } = this.parts;
    charts.style.setProperty("--t", slider.value);
    slider.style.setProperty("--part", slider.value);
    words.textContent = this.readings.length ? leader(valuesAt(this.readings, this.t, "logits"), this.t) : "\u00a0";
    slider.setAttribute("aria-valuetext", words.textContent);
    this.changed(this.t);
  }

  #play() {
    const begin = performance.now();
    this.parts.play.textContent = "Stop";
    const next = (/** @type {number} */ now) => {
      const t = Math.min(1, Math.max(0, (now - begin) / DURATION));
      this.parts.slider.value = String(t);
      this.#show();
      if (t < 1) this.frame = requestAnimationFrame(next);
      else this.#stop();
    };
    this.frame = requestAnimationFrame(next);
  }

  #stop() {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    this.parts.play.textContent = "Play";
  }
}
