/** The answer: the digit, how certain it is, and what it cost. */

import { counted, milliseconds, number, percent, setting } from "./format.js";

const SURE = 0.9; // The certainty is calibrated: below this, at least one answer in ten is expected to be wrong.
const DOUBTFUL = 0.5; // Below this, the digit is more likely wrong than right, for example if the picture shows no digit.
/** @type {Record<string, string>} */
const OUTCOMES = {
  converged: "every step within tolerance",
  max_nfe: "cut short by max_nfe",
  deadline: "cut short by the deadline",
  max_steps: "stopped before t = 1",
  non_finite: "not a finite number",
};
const QUIET = 900; // milliseconds without a change before a screen reader announces the answer

export class AnswerView {
  /** @param {(id: string) => HTMLElement} part finds an element of the page by its id */
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

  /** Show that there is no answer. */
  clear() {
    for (const id of ["digit", "nfe", "steps", "error", "time"]) this.part(id).textContent = "–";
    for (const id of ["certainty", "truth", "rare", "by", "rejected", "outcome", "trip", "brief"]) {
      this.part(id).textContent = "\u00a0";
    }
    for (const { row, bar, value } of this.bars) {
      row.className = "";
      bar.style.transform = "scaleX(0)";
      value.textContent = "";
    }
    this.#announce("");
    this.part("answer").className = "card answer blank";
  }

  /** Show that the answer belongs to an earlier request. */
  dim() {
    this.part("answer").classList.add("stale");
  }

  /**
   * @param {import("./api.js").Answer} answer
   * @param {number | null} label the true digit, if it is known
   * @param {number | null} error the share of all digits that are misread at this setting, if it is known
   */
  show({ prediction, times, trip }, label, error) {
    const { digit, probabilities, solver } = prediction;
    const certainty = probabilities[digit];
    this.part("digit").textContent = String(digit);
    this.part("certainty").textContent = `${percent(certainty)} certain`;
    this.part("answer").className = `card answer ${certainty < SURE ? "unsure" : ""}`;
    const doubt = certainty < DOUBTFUL ? "perhaps no digit" : "";
    const verdict = label === digit ? "right" : "wrong";
    this.part("truth").textContent = label === null ? doubt || "\u00a0" : `${verdict}: labelled ${label}`;
    const isRare = verdict === "wrong" && label !== null && error !== null;
    this.part("rare").textContent = isRare
      ? `A rare case: at this setting, ${percent(error)} of the digits are misread.`
      : "\u00a0";
    this.bars.forEach(({ row, bar, value }, each) => {
      row.className = each === digit ? "first" : "";
      bar.style.transform = `scaleX(${probabilities[each]})`;
      value.textContent = percent(probabilities[each]);
    });
    this.part("time").textContent = milliseconds(times.solve);
    this.part("trip").textContent = `decode ${milliseconds(times.decode)} · trip ${milliseconds(trip)}`;
    if (solver) this.#showSolve(solver);
    const brief = `${percent(certainty)}${solver ? ` · ${solver.nfe} NFE` : ""}`;
    this.part("brief").replaceChildren(Object.assign(document.createElement("b"), { textContent: digit }), brief);
    const cost = solver ? `, ${counted(solver.nfe, "evaluation")}` : "";
    this.#announce(`${digit}, ${percent(certainty)} certain${doubt && `, ${doubt}`}${cost}`);
  }

  /** @param {import("./api.js").Solver} solver */
  #showSolve(solver) {
    this.part("nfe").textContent = String(solver.nfe);
    this.part("by").textContent =
      setting(solver) +
      (solver.escalated ? ", after a doubtful loose solve" : "") +
      (solver.degraded ? ", loosened under load" : "");
    this.part("steps").textContent = String(solver.steps - solver.rejected);
    this.part("rejected").textContent = solver.rejected ? `and ${solver.rejected} rejected` : "none rejected";
    this.part("error").textContent = solver.error_estimate === null ? "none" : number(solver.error_estimate);
    const outcome = OUTCOMES[solver.outcome] ?? solver.outcome;
    this.part("outcome").textContent = solver.rtol === null ? "fixed steps give no estimate" : outcome;
  }

  /** @param {string} words for a screen reader, read out once the answer stops changing */
  #announce(words) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => (this.part("status").textContent = words), QUIET);
  }
}

/** @param {HTMLCanvasElement} canvas @param {number[][]} image 28x28 levels of 0..255, shown in the canvas */
export function showImage(canvas, image) {
  const pixels = new ImageData(28, 28);
  for (const [index, level] of image.flat().entries()) pixels.data.set([level, level, level, 255], 4 * index);
  /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d")).putImageData(pixels, 0, 0);
}
