/** The requests to the service, and the errors that they may end with. */

/**
 * @typedef {{method: string, rtol: number | null, atol: number | null, nfe: number, steps: number, rejected: number,
 *   error_estimate: number | null, outcome: string, escalated: boolean, degraded: boolean}} Solver
 * @typedef {{t: number, size: number, error: number | null, accepted: boolean}} Attempt
 * @typedef {{t: number, logits: number[], channels: number[]}} Reading
 * @typedef {{attempts: Attempt[], depth: Reading[]}} Trace
 * @typedef {{digit: number, probabilities: number[], margin: number | null, solver: Solver | null, image: number[][],
 *   trace: Trace | null, looser_traces: Trace[]}} Prediction
 * @typedef {{body: Blob, label: number | null}} Picture the body of a request, and the true digit if it is known
 * @typedef {Record<string, string | number | boolean>} Fields the fields of the query
 * @typedef {{detail?: string, errors?: {field: string, message: string, value: string | null}[]}} Problem
 * @typedef {{name: string, methods: string[], default: boolean}} Model
 * @typedef {{prediction: Prediction, times: Times, trip: number}} Answer with the time of the round trip, in
 *   milliseconds
 * @typedef {{decode: number, solve: number}} Times of the service, in milliseconds: to decode the picture, and to
 *   compute the answer from the pixels; NaN if the answer does not say it
 */

/** The service answered with an error. */
export class Refusal extends Error {
  /**
   * @param {number} status
   * @param {Problem} problem
   * @param {number | null} retryAfter seconds
   */
  constructor(status, problem, retryAfter) {
    super(problem.detail ?? `status ${status}`);
    this.status = status;
    this.errors = problem.errors ?? [];
    this.retryAfter = retryAfter;
  }
}

/** The service did not answer. */
export class Unreachable extends Error {}

/**
 * @param {string} path
 * @param {RequestInit} [options]
 * @returns {Promise<Response>} a successful response
 * @throws {Refusal | Unreachable | DOMException} a DOMException if the request was aborted
 */
export async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new Unreachable("the service does not answer");
  }
  if (answer.ok) return answer;
  /** @type {Problem} */
  const problem = await answer.json().catch(() => ({}));
  const retryAfter = Number(answer.headers.get("retry-after"));
  throw new Refusal(answer.status, problem, retryAfter || null);
}

/**
 * Classify one picture.
 *
 * @param {Picture} picture
 * @param {Fields} fields
 * @param {AbortSignal} [signal]
 * @returns {Promise<Answer>}
 */
export async function predict(picture, fields, signal) {
  const query = new URLSearchParams(Object.entries(fields).map(([name, value]) => [name, String(value)]));
  const started = performance.now();
  const headers = { "content-type": picture.body.type || "application/octet-stream" };
  const answer = await ask(`predict?${query}`, { method: "POST", body: picture.body, headers, signal });
  const { predictions } = /** @type {{predictions: Prediction[]}} */ (await json(answer));
  const trip = performance.now() - started;
  return { prediction: predictions[0], times: times(answer.headers.get("server-timing") ?? ""), trip };
}

/**
 * @param {Response} answer
 * @returns {Promise<unknown>}
 * @throws {Refusal} if the answer is not JSON, and so comes from another program, such as a proxy
 */
async function json(answer) {
  try {
    return await answer.json();
  } catch (error) {
    if (error instanceof SyntaxError) throw new Refusal(answer.status, { detail: "its answer is not JSON" }, null);
    throw error;
  }
}

/** @returns {Promise<Model[]>} the models that are served */
export async function listModels() {
  return /** @type {Model[]} */ (await json(await ask("models")));
}

/** @param {string} name of a model @returns {Promise<import("./tradeoff-chart.js").Profile>} its measured trade-off */
export async function getProfile(name) {
  const model = await json(await ask(`models/${encodeURIComponent(name)}`));
  return /** @type {{profile: import("./tradeoff-chart.js").Profile}} */ (model).profile;
}

/** @returns {Promise<string>} the metrics of the service, in Prometheus' text format */
export const getMetrics = async () => (await ask("metrics", { cache: "no-store" })).text();

/** Whether the service is ready. */
export async function isReady() {
  return ask("health/ready", { cache: "no-store" }).then(
    () => true,
    () => false,
  );
}

/** @param {string} timing the header Server-Timing @returns {Times} */
function times(timing) {
  const found = (/** @type {string} */ phase) =>
    Number(new RegExp(`\\b${phase};dur=([\\d.]+)`).exec(timing)?.[1] ?? NaN);
  const solve = found("stem") + found("solve") + found("head");
  return { decode: found("decode"), solve };
}
