/** Sends one request at a time. While a request runs, only the newest waiting question is kept. */

const DELAY = 40; // milliseconds for which changes are collected before a request is sent

/** @template Question, Answer */
export class Live {
  /**
   * @param {(question: Question, signal: AbortSignal) => Promise<Answer>} send sends a question; fails if the signal aborts it
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
    this.request = null;
    this.timer = 0;
  }

  /**
   * Ask a question. The running request may finish: if each question aborted the previous request, a slow connection
   * would never bring an answer.
   *
   * @param {Question} question replaces the question that has not been sent yet
   */
  ask(question) {
    this.wanted = question;
    if (!this.timer && !this.request) this.timer = setTimeout(() => this.#begin(), DELAY);
  }

  /** Abort the running request, and forget the waiting question. */
  cancel() {
    clearTimeout(this.timer);
    this.timer = 0;
    this.wanted = null;
    this.request?.abort();
    this.request = null;
  }

  async #begin() {
    this.timer = 0;
    const question = /** @type {Question} */ (this.wanted);
    this.wanted = null;
    const request = new AbortController();
    this.request = request;
    try {
      this.show(await this.send(question, request.signal), question);
    } catch (error) {
      if (!request.signal.aborted) this.fail(/** @type {Error} */ (error), question);
    }
    if (this.request !== request) return; // the request was cancelled
    this.request = null;
    if (this.wanted) this.ask(this.wanted);
  }
}
