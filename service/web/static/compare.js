/** The same digit, classified at several settings and by several networks, side by side. */

import { predict, Unreachable } from "./api.js";
import { milliseconds, percent, setting } from "./format.js";
import { kindly, retryAfter } from "./messages.js";

const TOLERANCES = [10, 1, 0.1, 0.01, 1e-3, 1e-5];

/**
 * @typedef {import("./api.js").Model} Model
 * @typedef {{model: string, fields: import("./api.js").Fields, answer: import("./api.js").Answer}} Row
 */

/** @param {Model} model @param {Model[]} all @returns {{model: string, fields: import("./api.js").Fields}[]} */
function questions({ name, methods }, all) {
  const euler = methods.includes("euler") ? [{ method: "euler", steps: 1 }] : [];
  const settings = [...euler, ...TOLERANCES.map((tolerance) => ({ tolerance }))];
  const fixed = all.filter((each) => !each.methods.length).map((each) => each.name);
  const own = settings.map((fields) => ({ model: name, fields }));
  return [...own, ...fixed.map((each) => ({ model: each, fields: {} }))];
}

/** A comparison on the page. A failed comparison shows an error, and starts again if a new start can help. */
export class Comparison {
  /**
   * @param {HTMLTableElement} table
   * @param {HTMLElement} note shows the result in a sentence, or an error message
   * @param {() => void} lost called when the service does not answer
   */
  constructor(table, note, lost) {
    this.table = table;
    this.note = note;
    this.lost = lost;
    this.running = new AbortController();
    /** @type {(() => void) | null} */
    this.again = null;
    this.timer = 0;
  }

  /**
   * @param {Promise<import("./api.js").Picture | null>} drawn
   * @param {Model} model the model that is asked at several settings
   * @param {Model[]} all every model that is served
   */
  async begin(drawn, model, all) {
    this.drop();
    this.running = new AbortController();
    const { signal } = this.running;
    try {
      const picture = await drawn;
      if (picture) this.note.textContent = await compare(picture, model, all, this.table, signal);
    } catch (error) {
      if (!signal.aborted) this.#fail(/** @type {Error} */ (error), () => this.begin(drawn, model, all));
    }
  }

  /** Start the comparison again if it has failed. */
  resume() {
    this.again?.();
  }

  /** Stop the comparison and hide it. */
  drop() {
    this.running.abort();
    clearTimeout(this.timer);
    this.again = null;
    this.table.hidden = true;
    this.note.textContent = "";
  }

  /** @param {Error} error @param {() => void} again */
  #fail(error, again) {
    this.again = again;
    this.table.hidden = !this.table.tBodies[0].rows.length;
    this.note.textContent = kindly(error);
    const seconds = retryAfter(error);
    if (seconds) this.timer = setTimeout(again, 1000 * seconds);
    if (error instanceof Unreachable) this.lost();
  }
}

/**
 * Send one request after another, and show each answer as it comes.
 *
 * @param {import("./api.js").Picture} picture
 * @param {Model} model the model that is asked at several settings
 * @param {Model[]} all every model that is served
 * @param {HTMLTableElement} table
 * @param {AbortSignal} signal ends the comparison with an error
 * @returns {Promise<string>} the result in a sentence
 */
async function compare(picture, model, all, table, signal) {
  const body = table.tBodies[0];
  body.replaceChildren();
  table.hidden = false;
  /** @type {(Row & {cells: HTMLTableRowElement})[]} */
  const rows = [];
  for (const question of questions(model, all)) {
    const answer = await predict(picture, { model: question.model, ...question.fields }, signal);
    const cells = show({ ...question, answer });
    rows.push({ ...question, answer, cells });
    body.append(cells);
    mark(rows, model.name);
  }
  return verdict(rows, model.name);
}

/** @param {Row[]} rows @param {string} name @returns {Row} the tightest solve of the model */
const tightest = (rows, name) => rows.filter((row) => row.model === name).at(-1) ?? rows[0];

/** @param {Row} row @returns {number} */
const digit = (row) => row.answer.prediction.digit;

/** @param {(Row & {cells: HTMLTableRowElement})[]} rows @param {string} name */
function mark(rows, name) {
  const reference = digit(tightest(rows, name));
  for (const row of rows) {
    const differs = digit(row) !== reference;
    row.cells.classList.toggle("differs", differs);
    row.cells.querySelector(".other")?.toggleAttribute("hidden", !differs);
  }
}

/** @param {Row[]} rows @param {string} name */
function verdict(rows, name) {
  const reference = digit(tightest(rows, name));
  const others = rows.filter((row) => digit(row) !== reference).length;
  if (!others) return `All ${rows.length} answer ${reference}.`;
  const differ = others === 1 ? "differs" : "differ";
  return `${others} of ${rows.length} answers ${differ} from the tightest solve's, ${reference}.`;
}

/** @param {Row} row @returns {HTMLTableRowElement} */
function show({ model, answer }) {
  const { digit, probabilities, solver } = answer.prediction;
  const row = document.createElement("tr");
  const by = Object.assign(document.createElement("th"), { scope: "row" });
  by.textContent = solver ? setting(solver) : `${model}, fixed depth`;
  const answered = cell("number given", String(digit));
  const other = Object.assign(document.createElement("span"), { className: "other", title: "differs", hidden: true });
  other.textContent = "≠ ";
  answered.prepend(other);
  const certainty = cell("certain", "");
  const [track, bar, value] = ["span", "i", "span"].map((tag) => document.createElement(tag));
  track.className = "track";
  bar.style.transform = `scaleX(${probabilities[digit]})`;
  value.className = "value";
  value.textContent = percent(probabilities[digit]);
  track.append(bar);
  certainty.append(track, value);
  const nfe = cell("number", solver ? String(solver.nfe) : "–");
  row.append(by, answered, certainty, nfe, cell("number time", milliseconds(answer.times.solve)));
  return row;
}

/** @param {string} kind @param {string} words */
function cell(kind, words) {
  return Object.assign(document.createElement("td"), { className: kind, textContent: words });
}
