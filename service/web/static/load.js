/** The load of the service, live: how requests share batches, wait, and are solved more loosely; with a way to add load. */

import { ask, getMetrics } from "./api.js";
import { milliseconds, percent } from "./format.js";
import { kindly } from "./messages.js";

const INTERVAL = 1000; // milliseconds between two looks at the metrics
const LOOPS = 4; // requests at a time; a browser opens six connections to a server, and the page needs two
const IMAGES = 32; // in each of these requests

/**
 * @typedef {Record<string, number>} Totals the value of each metric, summed over its labels
 * @typedef {{speed: number, batch: number, waiting: number, loosened: number, refused: number, wait: number}} Rates
 *   images answered in a second, images in a solver step, images in the queue, the share of images that were solved more
 *   loosely than requested, requests refused, and milliseconds that a request waits; NaN where nothing was counted
 */

/** @param {string} text in Prometheus' format @returns {Totals} */
export function totals(text) {
  /** @type {Totals} */
  const sums = {};
  for (const [, name, value] of text.matchAll(/^(odenet_\w+)(?:\{.*\})? (\S+)/gm)) {
    sums[name] = (sums[name] ?? 0) + Number(value);
  }
  return sums;
}

/** @param {Totals} before @param {Totals} after @param {number} seconds between the two @returns {Rates} */
export function rates(before, after, seconds) {
  const more = (/** @type {string} */ name) => (after[name] ?? 0) - (before[name] ?? 0);
  const images = more("odenet_rows_total");
  return {
    speed: images / seconds,
    batch: more("odenet_batch_rows_sum") / more("odenet_batch_rows_count"),
    waiting: after.odenet_rows_queued ?? 0,
    loosened: more("odenet_degraded_total") / images,
    refused: more("odenet_shed_total"),
    wait: (1000 * more("odenet_queue_seconds_sum")) / more("odenet_queue_seconds_count"),
  };
}

export class Load {
  /**
   * @param {{details: HTMLDetailsElement, flood: HTMLButtonElement, note: HTMLElement,
   *   figures: Record<keyof Rates, HTMLElement>}} parts
   * @param {() => number[] | null} levels the grey levels of the current digit, which the added load sends
   */
  constructor(parts, levels) {
    this.parts = parts;
    this.levels = levels;
    /** @type {ReturnType<typeof setTimeout> | number} */
    this.timer = 0;
    /** @type {{totals: Totals, at: number} | null} */
    this.last = null;
    /** @type {AbortController | null} */
    this.flooding = null;
    parts.details.addEventListener("toggle", () => (parts.details.open ? this.#look() : this.#close()));
    parts.flood.addEventListener("click", () => (this.flooding ? this.#calm() : this.#flood()));
  }

  /** Show what has changed since the last look, and look again later. */
  async #look() {
    try {
      const now = { totals: totals(await getMetrics()), at: performance.now() };
      if (this.last) this.#show(rates(this.last.totals, now.totals, (now.at - this.last.at) / 1000));
      this.last = now;
      this.parts.note.textContent = "";
    } catch (error) {
      this.parts.note.textContent = kindly(/** @type {Error} */ (error));
    }
    if (this.parts.details.open) this.timer = setTimeout(() => this.#look(), INTERVAL);
  }

  /** @param {Rates} seen */
  #show({ speed, batch, waiting, loosened, refused, wait }) {
    const { figures } = this.parts;
    figures.speed.textContent = String(Math.round(speed));
    figures.batch.textContent = Number.isNaN(batch) ? "–" : batch.toFixed(1);
    figures.waiting.textContent = String(waiting);
    figures.wait.textContent = milliseconds(wait);
    figures.loosened.textContent = Number.isNaN(loosened) ? "–" : percent(loosened);
    figures.refused.textContent = String(refused);
  }

  #close() {
    clearTimeout(this.timer);
    this.last = null;
    this.#calm();
  }

  #flood() {
    const levels = this.levels();
    if (!levels) return;
    this.flooding = new AbortController();
    this.parts.flood.textContent = "Stop the load";
    const body = Uint8Array.from(Array(IMAGES).fill(levels).flat());
    for (let loop = 0; loop < LOOPS; loop++) this.#repeat(body, this.flooding.signal);
  }

  /** @param {Uint8Array<ArrayBuffer>} body @param {AbortSignal} signal ends the requests */
  async #repeat(body, signal) {
    const headers = { "content-type": "application/octet-stream" };
    while (!signal.aborted) {
      // A refusal is part of the picture. We wait a little, so that a service that is away is not asked without pause.
      const options = { method: "POST", headers, body, signal };
      await ask(`predict?count=${IMAGES}&priority=low`, options).catch(
        () => new Promise((go) => setTimeout(go, INTERVAL)),
      );
    }
  }

  #calm() {
    this.flooding?.abort();
    this.flooding = null;
    this.parts.flood.textContent = "Add load";
  }
}
