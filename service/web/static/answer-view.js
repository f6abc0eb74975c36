/** The answer: the digit, how certain it is, and what it cost. */

import { counted, milliseconds, number, percent, setting } from "./format.js";

const SURE = 0.9; // a calibrated certainty: with less, one answer in ten or more is expected to be wrong
const DOUBTFUL = 0.5; // with less, the digit is more likely wrong than right, as of a picture that shows none
/** @type {Record<string, string>} */
const OUTCOMES = {
  converged: "every step within tolerance",
  max_nfe: "cut short by max_nfe",
  deadline: "cut short by the deadline",
  max_steps: "given up before t = 1",
  non_finite: "no finite number",
};
const QUIET = 900; // milliseconds without a change after which a screen reader is told

export class AnswerView {
  /** @param {(id: string) => HTMLElement} part of the page by its id */
  constructor(part) {
    this.part = part;
    this.timer = 0;
    this.bars = Array.from({ length: 10 }, (_, digit) => {
      const [row, name, track, bar, value] = ["li", "b", "span", "i", "span"].map((tag) => document.createElement(tag));
      name.textContent = String(digit);
      track.className = "track";
      value.className = "value";
      track.append(bar);
      row.append(name, track, value);
      part("bars").append(row);
      return { row, bar, value };
    });
    this.clear();
  }

  /** Show that there is nothing to be read. */
  clear() {
    for (const id of ["digit", "nfe", "steps", "error", "time"]) this.part(id).textContent = "–";
    for (const id of ["certainty", "truth", "by", "rejected", "outcome", "trip", "brief"]) {
      this.part(id).textContent = "\u00a0";
    }
    for (const { row, bar, value } of this.bars) {
      row.className = "";
      bar.style.transform = "scaleX(0)";
      value.textContent = "";
    }
    this.#say("");
    this.part("answer").className = "card answer blank";
  }

  /** Show that this is the answer to an earlier question. */
  dim() {
    this.part("answer").classList.add("stale");
  }

  /** @param {import("./api.js").Answer} answer @param {number | null} label what the digit is known to be */
  show({ prediction, service, trip }, label) {
    const { digit, probabilities, solver } = prediction;
    const certainty = probabilities[digit];
    this.part("digit").textContent = String(digit);
    this.part("certainty").textContent = `${percent(certainty)} certain`;
    this.part("answer").className = `card answer ${certainty < SURE ? "unsure" : ""}`;
    const doubt = certainty < DOUBTFUL ? "perhaps no digit" : "";
    const verdict = label === digit ? "right" : "wrong";
    this.part("truth").textContent = label === null ? doubt || "\u00a0" : `${verdict}: labelled ${label}`;
    this.bars.forEach(({ row, bar, value }, each) => {
      row.className = each === digit ? "first" : "";
      bar.style.transform = `scaleX(${probabilities[each]})`;
      value.textContent = percent(probabilities[each]);
    });
    this.part("time").textContent = milliseconds(service);
    this.part("trip").textContent = `${milliseconds(trip)} there and back`;
    if (solver) this.#showSolve(solver);
    const brief = `${percent(certainty)}${solver ? ` · ${solver.nfe} NFE` : ""}`;
    this.part("brief").replaceChildren(Object.assign(document.createElement("b"), { textContent: digit }), brief);
    const cost = solver ? `, ${counted(solver.nfe, "evaluation")}` : "";
    this.#say(`${digit}, ${percent(certainty)} certain${doubt && `, ${doubt}`}${cost}`);
  }

  /** @param {import("./api.js").Solver} solver */
  #showSolve(solver) {
    this.part("nfe").textContent = String(solver.nfe);
    this.part("by").textContent = setting(solver) + (solver.degraded ? ", as it is busy" : "");
    this.part("steps").textContent = String(solver.steps - solver.rejected);
    this.part("rejected").textContent = solver.rejected ? `and ${solver.rejected} rejected` : "none rejected";
    this.part("error").textContent = solver.error_estimate === null ? "none" : number(solver.error_estimate);
    const outcome = OUTCOMES[solver.outcome] ?? solver.outcome;
    this.part("outcome").textContent = solver.rtol === null ? "fixed steps make none" : outcome;
  }

  /** @param {string} words to a screen reader, once nothing changes any more */
  #say(words) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => (this.part("status").textContent = words), QUIET);
  }
}

/** @param {HTMLCanvasElement} canvas @param {number[][]} image to show in it */
export function showImage(canvas, image) {
  const pixels = new ImageData(28, 28);
  for (const [place, level] of image.flat().entries()) pixels.data.set([level, level, level, 255], 4 * place);
  /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d")).putImageData(pixels, 0, 0);
}
