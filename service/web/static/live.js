/** Questions that follow each other quickly: the newest is asked, one at a time, and stale answers are dropped. */

const PATIENCE = 40; // milliseconds for which changes are gathered

/** @template Question, Answer */
export class Live {
  /**
   * @param {(question: Question, signal: AbortSignal) => Promise<Answer>} send
   * @param {(answer: Answer, question: Question) => void} show
   * @param {(error: Error, question: Question) => void} fail
   */
  constructor(send, show, fail) {
    this.send = send;
    this.show = show;
    this.fail = fail;
    /** @type {Question | null} */
    this.wanted = null;
    /** @type {AbortController | null} */
    this.flight = null;
    this.timer = 0;
  }

  /** @param {Question} question replaces whichever has not been answered yet */
  ask(question) {
    this.wanted = question;
    if (!this.timer) this.timer = setTimeout(() => this.#begin(), PATIENCE);
  }

  /** Drop what is asked. */
  cancel() {
    clearTimeout(this.timer);
    this.timer = 0;
    this.wanted = null;
    this.flight?.abort();
    this.flight = null;
  }

  async #begin() {
    this.timer = 0;
    const question = /** @type {Question} */ (this.wanted);
    this.flight?.abort();
    const flight = (this.flight = new AbortController());
    try {
      const answer = await this.send(question, flight.signal);
      if (!flight.signal.aborted) this.show(answer, question);
    } catch (error) {
      if (!flight.signal.aborted) this.fail(/** @type {Error} */ (error), question);
    } finally {
      if (this.flight === flight) this.flight = null;
    }
  }
}
