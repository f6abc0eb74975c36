/** Questions that follow each other quickly: one at a time is asked, and of those that wait the newest alone. */

const PATIENCE = 40; // milliseconds for which changes are gathered

/** @template Question, Answer */
export class Live {
  /**
   * @param {(question: Question, signal: AbortSignal) => Promise<Answer>} send which fails once it is aborted
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

  /**
   * The question in flight is let finish: were it dropped for each that follows, a slow connection would answer none.
   *
   * @param {Question} question replaces whichever has not been asked yet
   */
  ask(question) {
    this.wanted = question;
    if (!this.timer && !this.flight) this.timer = setTimeout(() => this.#begin(), PATIENCE);
  }

  /** Drop what is asked, and what would be. */
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
    this.wanted = null;
    const flight = new AbortController();
    this.flight = flight;
    try {
      this.show(await this.send(question, flight.signal), question);
    } catch (error) {
      if (!flight.signal.aborted) this.fail(/** @type {Error} */ (error), question);
    }
    if (this.flight !== flight) return; // it was cancelled
    this.flight = null;
    if (this.wanted) this.ask(this.wanted);
  }
}
