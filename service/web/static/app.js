/** The main module of the page: it connects the other modules. */

import { read as readAddress, write as writeAddress } from "./address.js";
import { AnswerView, showImage } from "./answer-view.js";
import { getProfile, listModels, predict, Unreachable } from "./api.js";
import { drawChannels } from "./channels-chart.js";
import { base64, copying, programs } from "./code.js";
import { Comparison } from "./compare.js";
import { Connection } from "./connection.js";
import { Controls } from "./controls.js";
import { Live } from "./live.js";
import { Load } from "./load.js";
import { isOfPicture, kindly, retryAfter } from "./messages.js";
import { Moment } from "./moment.js";
import { Pad } from "./pad.js";
import { read, sheetOf, watch } from "./pictures.js";
import { offer } from "./samples.js";
import { logitsChart, stepsChart } from "./solve-charts.js";
import { agreementsOf, methodsOf, nearest, tradeoffChart } from "./tradeoff-chart.js";

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
  channels: part("channels", HTMLCanvasElement),
  notice: part("notice", HTMLElement),
  lead: part("tradeoff-lead", HTMLElement),
  compare: part("compare", HTMLButtonElement),
  curl: part("curl", HTMLElement),
  python: part("python", HTMLElement),
};
const ADDRESS_DELAY = 300; // milliseconds after an answer; browsers refuse many changes of the address at a time
/** @type {import("./api.js").Model[]} */
let models = [];
/** @type {Map<string, import("./tradeoff-chart.js").Profile>} */
const profiles = new Map();
let retry = 0;
/** @type {Awaited<ReturnType<typeof offer>> | null} */
let samples = null;
/** @type {number | null} the number of the picked digit */
let digit = null;
/** @type {import("./api.js").Prediction | null} the prediction that is shown */
let shown = null;
let addressTimer = 0;

const view = new AnswerView((id) => part(id, HTMLElement));
const charts = {
  steps: stepsChart(part("steps-chart", HTMLElement)),
  logits: logitsChart(part("logits-chart", HTMLElement)),
  tradeoff: tradeoffChart(part("tradeoff-chart", HTMLElement)),
};
const moment = new Moment(
  {
    slider: part("depth-time", HTMLInputElement),
    play: part("play", HTMLButtonElement),
    words: part("moment", HTMLElement),
    charts: part("depth", HTMLElement),
  },
  (t) => charts.logits.show(shown && { prediction: shown, t }),
);
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
    name: part("setting-name", HTMLElement),
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
  const [profile, solver] = [profiles.get(model), prediction.solver];
  view.show(answer, picture.label, profile && solver ? nearest(profile, solver).error : null);
  showImage(page.seen, prediction.image);
  showSolve(prediction);
  charts.tradeoff.show(profile && solver ? { profile, solver } : null);
  const key = document.documentElement.dataset.keyVariable ?? "";
  const { curl, python } = programs(base64(page.seen), { model, ...fields }, new URL("predict", location.href), key);
  page.curl.textContent = curl;
  page.python.textContent = python;
  clearTimeout(addressTimer);
  addressTimer = setTimeout(() => note({ model, ...fields }, digit, prediction.image.flat()), ADDRESS_DELAY);
}

/** @param {import("./api.js").Prediction | null} prediction */
function showSolve(prediction) {
  shown = prediction;
  const readings = prediction?.trace?.depth ?? [];
  charts.steps.show(prediction);
  drawChannels(page.channels, readings);
  moment.show(readings);
}

/**
 * Put the setting and the digit into the page's address.
 *
 * @param {import("./api.js").Fields} fields @param {number | null} number @param {number[]} levels
 */
async function note(fields, number, levels) {
  history.replaceState(null, "", await writeAddress(fields, number, Uint8Array.from(levels)));
}

/** Set the page to what its address asks for. */
async function follow() {
  const { model, digit, levels, settings } = await readAddress(location.hash);
  const offered = [...page.model.options].some(({ value }) => value === model);
  if (model && offered && model !== page.model.value) {
    page.model.value = model;
    await showModel();
  }
  controls.set(settings);
  if (digit !== null) samples?.pick(digit);
  else if (levels) pad.put(sheetOf(levels, null));
  ask();
}

/** @param {string} words about a problem */
function say(words) {
  page.notice.textContent = words;
  page.notice.hidden = false;
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
  say(kindly(error));
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
  digit = samples?.mark(pad.sheet) ?? null;
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
  showSolve(null);
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
    if (!solving.length) {
      models = []; // the page looks for models again when the service has been away
      say("No model that is served solves an equation, so this page has nothing to show. The API works without it.");
      return;
    }
    const chosen = solving.find((model) => model.default) ?? solving[0];
    page.model.replaceChildren(...solving.map(({ name }) => new Option(name, name, false, name === chosen.name)));
    await showModel();
    if (!samples) {
      samples = await offer(part("samples", HTMLElement), (sheet) => pad.put(sheet));
      await follow();
      if (pad.blank) samples.begin();
    }
  } catch (error) {
    models = [];
    fail(/** @type {Error} */ (error));
  }
}

new Load(
  {
    details: part("load", HTMLDetailsElement),
    flood: part("flood", HTMLButtonElement),
    note: part("load-note", HTMLElement),
    figures: {
      speed: part("load-speed", HTMLElement),
      batch: part("load-batch", HTMLElement),
      waiting: part("load-waiting", HTMLElement),
      wait: part("load-wait", HTMLElement),
      loosened: part("load-loosened", HTMLElement),
      refused: part("load-refused", HTMLElement),
    },
  },
  () => shown?.image.flat() ?? null,
);
page.undo.addEventListener("click", () => pad.undo());
document.addEventListener("keydown", (event) => {
  if (event.key.toLowerCase() !== "z" || !(event.ctrlKey || event.metaKey) || event.shiftKey || event.altKey) return;
  event.preventDefault();
  pad.undo();
});
page.clear.addEventListener("click", () => pad.clear());
page.compare.addEventListener("click", compareAll);
page.model.addEventListener("change", chooseModel);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => showSolve(shown));
addEventListener("hashchange", () => follow().catch(fail));
const inputs = ["file", "camera"].map((id) => part(id, HTMLInputElement));
watch(part("pad", HTMLElement), inputs, async (file) => pad.put(await read(file)));
copying(document.querySelectorAll("[data-copy]"), part("copied", HTMLElement));
start();
