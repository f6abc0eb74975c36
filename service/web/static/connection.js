/** Whether the service is there: a banner while it is not. */

import { isReady } from "./api.js";

const WATCH = 5000; // milliseconds between looks while all is well
const RETRY = 1000; // and while it is not

export class Connection {
  /**
   * @param {HTMLElement} banner shown while the service is away
   * @param {() => void} back called when it has come back
   */
  constructor(banner, back) {
    this.banner = banner;
    this.back = back;
    this.away = false;
    this.timer = setTimeout(() => this.#look(), WATCH);
    addEventListener("offline", () => this.lost());
    document.addEventListener("visibilitychange", () => document.hidden || this.#soon(0));
  }

  /** Note that the service did not answer. */
  lost() {
    if (this.away) return;
    this.away = true;
    this.banner.hidden = false;
    this.#soon(RETRY);
  }

  /** @param {number} milliseconds */
  #soon(milliseconds) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#look(), milliseconds);
  }

  async #look() {
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
    this.#soon(this.away ? RETRY : WATCH);
  }
}
