/** Watches whether the service answers, and shows a banner while it does not. */

import { isReady } from "./api.js";

const WATCH = 5000; // milliseconds between checks while the service answers
const RETRY = 1000; // milliseconds between checks while it does not

export class Connection {
  /**
   * @param {HTMLElement} banner shown while the service does not answer
   * @param {() => void} back called when the service answers again
   */
  constructor(banner, back) {
    this.banner = banner;
    this.back = back;
    this.away = false;
    this.timer = setTimeout(() => this.#check(), WATCH);
    addEventListener("offline", () => this.lost());
    document.addEventListener("visibilitychange", () => document.hidden || this.#schedule(0));
  }

  /** Report that the service did not answer. */
  lost() {
    if (this.away) return;
    this.away = true;
    this.banner.hidden = false;
    this.#schedule(RETRY);
  }

  /** @param {number} milliseconds */
  #schedule(milliseconds) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#check(), milliseconds);
  }

  async #check() {
    if (!document.hidden) {
      const ready = await isReady();
      if (ready && this.away) {
        this.away = false;
        this.banner.hidden = true;
        this.back();
      } else if (!ready) {
        this.lost();
      }
    }
    this.#schedule(this.away ? RETRY : WATCH);
  }
}
