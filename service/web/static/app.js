/** The main module of the page: it connects the other modules. */

import { AnswerView, showImage } from "./answer-view.js";
import { getProfile, listModels, predict, Unreachable } from "./api.js";
import { base64, copying, programs } from "./code.js";
import { Comparison } from "./compare.js";
import { Connection } from "./connection.js";
import { Controls } from "./controls.js";
import { Live } from "./live.js";
import { isOfPicture, kindly, retryAfter } from "./messages.js";
import { Pad } from "./pad.js";
import { read, watch } from "./pictures.js";
import { offer } from "./samples.js";
import { logitsChart, stepsChart } from "./solve-charts.js";
import { agreementsOf, methodsOf, tradeoffChart } from "./tradeoff-chart.js";

/**
 * The element of the page with an id.
 *
 * @template {HTMLElement} Kind
 * @param {string} id
 * @param {new () => Kind} kind the class of the element
 * @returns {Kind}
 * @throws {TypeError} if the page has no such element
 */
function part(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new TypeError(`#${id} is not a ${kind.name}`);
  return found;
}

const page = {
  model: part("model", HTMLSelectElement),
  hint: part("hint", HTMLElement),
  undo: part("undo", HTMLButtonElement),
  clear: part("clear", HTMLButtonElement),
  seen: part("seen", HTMLCanvasElement),
  notice: part("notice", HTMLElement),
  lead: part("tradeoff-lead", HTMLElement),
  compare: part("compare", HTMLButtonElement),
  curl: part("curl", HTMLElement),
  python: part("python", HTMLElement),
};
/** @type {import("./api.js").Model[]} */
let models = [];
/** @type {Map<string, import("./tradeoff-chart.js").Profile>} */
const profiles = new Map();
let retry = 0;
/** @type {Awaited<ReturnType<typeof offer>> | null} */
let samples = null;

const view = new AnswerView((id) => part(id, HTMLElement));
const charts = {
  steps: stepsChart(part("steps-chart", HTMLElement)),
  logits: logitsChart(part("logits-chart", HTMLElement)),
  tradeoff: tradeoffChart(part("tradeoff-chart", HTMLElement)),
};
const connection = new Connection(part("offline", HTMLElement), resume);
const live = new Live(send, show, fail);
const comparison = new Comparison(part("compare-table", HTMLTableElement), part("compare-note", HTMLElement), () =>
  connection.lost(),
);
const pad = new Pad(part("ink", HTMLCanvasElement), changed, ask);
const controls = new Controls(
  {
    modes: part("modes", HTMLElement),
    method: part("method", HTMLSelectElement),
    slider: part("slider", HTMLInputElement),
    setting: part("setting", HTMLElement),
    leftEnd: part("left-end", HTMLElement),
    rightEnd: part("right-end", HTMLElement),
    explanation: part("explanation", HTMLElement),
  },
  ask,
);

/** @typedef {{model: string, fields: import("./api.js").Fields}} Question */

function ask() {
  const model = page.model.value;
  if (profiles.has(model) && !pad.blank) live.ask({ model, fields: controls.fields });
}

/** @param {Question} question @param {AbortSignal} signal */
async function send({ model, fields }, signal) {
  clearTimeout(retry);
  const picture = await pad.picture();
  if (!picture) throw new DOMException("nothing is drawn", "AbortError");
  return { picture, answer: await predict(picture, { model, ...fields, trace: true }, signal) };
}

/** @param {Awaited<ReturnType<typeof send>>} sent @param {Question} question */
function show({ picture, answer }, { model, fields }) {
  page.notice.hidden = true;
  const { prediction } = answer;
  view.show(answer, picture.label);
  showImage(page.seen, prediction.image);
  charts.steps.show(prediction);
  charts.logits.show(prediction);
  const [profile, solver] = [profiles.get(model), prediction.solver];
  charts.tradeoff.show(profile && solver ? { profile, solver } : null);
  const { curl, python } = programs(base64(page.seen), { model, ...fields });
  page.curl.textContent = curl;
  page.python.textContent = python;
}

/** @param {Error} error */
function fail(error) {
  if (error.name === "AbortError") return;
  if (isOfPicture(error)) forget();
  else view.dim();
  if (error instanceof Unreachable) {
    connection.lost();
    return;
  }
  page.notice.textContent = kindly(error);
  page.notice.hidden = false;
  const seconds = retryAfter(error);
  if (seconds) retry = setTimeout(resume, 1000 * seconds);
}

/** Continue after a failure. */
function resume() {
  if (!models.length) start();
  else if (!profiles.has(page.model.value)) chooseModel();
  else ask();
  comparison.resume();
}

/** The content of the pad has changed. */
function changed() {
  page.hint.hidden = !pad.blank;
  page.undo.disabled = !pad.undoable;
  page.clear.disabled = page.compare.disabled = pad.blank;
  comparison.drop();
  samples?.mark(pad.sheet);
  live.cancel();
  if (pad.blank) {
    clearTimeout(retry);
    forget();
    page.notice.hidden = true;
  }
  ask();
}

/** Remove the answer from the page. */
function forget() {
  view.clear();
  page.seen.getContext("2d")?.clearRect(0, 0, page.seen.width, page.seen.height);
  charts.steps.show(null);
  charts.logits.show(null);
}

function compareAll() {
  const model = models.find(({ name }) => name === page.model.value);
  if (model) comparison.begin(pad.picture(), model, models);
}

/** Load the chosen model's measured trade-off, and show the model. */
async function showModel() {
  const name = page.model.value;
  live.cancel();
  if (!profiles.has(name)) profiles.set(name, await getProfile(name));
  if (page.model.value !== name) return; // another model was chosen in the meantime
  const profile = /** @type {import("./tradeoff-chart.js").Profile} */ (profiles.get(name));
  controls.offer(methodsOf(profile), agreementsOf(profile));
  page.lead.textContent =
    `How far the logits are from those of a tight solve: the mean over ${profile.rows.toLocaleString("en")} digits, ` +
    `as measured for ${name}. The ring marks the measured point nearest to the current setting.`;
  changed();
}

/** Show the chosen model, or an error message. */
const chooseModel = () => showModel().catch(fail);

/** Load the list of models, show one of them, and ask for the first digit. */
async function start() {
  try {
    models = await listModels();
    const solving = models.filter(({ methods }) => methods.length);
    const chosen = solving.find((model) => model.default) ?? solving[0];
    page.model.replaceChildren(...solving.map(({ name }) => new Option(name, name, false, name === chosen.name)));
    await showModel();
    if (!samples) {
      samples = await offer(part("samples", HTMLElement), (sheet) => pad.put(sheet));
      samples.begin();
    }
  } catch (error) {
    models = [];
    fail(/** @type {Error} */ (error));
  }
}

page.undo.addEventListener("click", () => pad.undo());
page.clear.addEventListener("click", () => pad.clear());
page.compare.addEventListener("click", compareAll);
page.model.addEventListener("change", chooseModel);
const inputs = ["file", "camera"].map((id) => part(id, HTMLInputElement));
watch(part("pad", HTMLElement), inputs, async (file) => pad.put(await read(file)));
copying(document.querySelectorAll("[data-copy]"), part("copied", HTMLElement));
start();
