/** The page, put together. */

import { AnswerView, showImage } from "./answer-view.js";
import { getModel, listModels, predict, Unreachable } from "./api.js";
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
import { methodsOf, tradeoffChart } from "./tradeoff-chart.js";


const part = (/** @type {string} */ id) => /** @type {any} */ (document.getElementById(id));
/** @type {{name: string, methods: string[], default: boolean}[]} */
let models = [];
/** @type {Map<string, import("./tradeoff-chart.js").Profile>} */
const profiles = new Map();
let retry = 0;
/** @type {Awaited<ReturnType<typeof offer>> | null} */
let samples = null;

const view = new AnswerView(part);
const charts = {
  steps: stepsChart(part("steps-chart")),
  logits: logitsChart(part("logits-chart")),
  tradeoff: tradeoffChart(part("tradeoff-chart")),
};
const connection = new Connection(part("offline"), resume);
const live = new Live(send, show, fail);
const comparison = new Comparison(part("compare-table"), part("compare-note"), () => connection.lost());
const pad = new Pad(part("ink"), changed, ask);
const controls = new Controls(
  {
    modes: part("modes"),
    method: part("method"),
    slider: part("slider"),
    setting: part("setting"),
    leftEnd: part("left-end"),
    rightEnd: part("right-end"),
  },
  ask,
);

/** @typedef {{model: string, fields: import("./api.js").Fields}} Question */

function ask() {
  const model = part("model").value;
  if (profiles.has(model) && !pad.blank) live.ask({ model, fields: controls.fields });
}

/** @param {Question} question @param {AbortSignal} signal */
async function send({ model, fields }, signal) {
  clearTimeout(retry);
  const picture = await pad.picture();
  if (!picture) throw new DOMException("nothing is drawn", "AbortError");
  return { picture, answer: await predict(picture, { model, ...fields, trace: true }, signal) };
}

/** @param {Awaited<ReturnType<typeof send>>} told @param {Question} question */
function show({ picture, answer }, { model, fields }) {
  part("notice").hidden = true;
  const { prediction } = answer;
  view.show(answer, picture.label);
  showImage(part("seen"), prediction.image);
  charts.steps.show(prediction);
  charts.logits.show(prediction);
  const [profile, solver] = [profiles.get(model), prediction.solver];
  charts.tradeoff.show(profile && solver ? { profile, solver } : null);
  const { curl, python } = programs(base64(part("seen")), { model, ...fields });
  part("curl").textContent = curl;
  part("python").textContent = python;
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
  part("notice").textContent = kindly(error);
  part("notice").hidden = false;
  const seconds = retryAfter(error);
  if (seconds) retry = setTimeout(resume, 1000 * seconds);
}

/** Go on where it was broken off. */
function resume() {
  if (!models.length) start();
  else if (!profiles.has(part("model").value)) chooseModel();
  else ask();
  comparison.resume();
}

/** Something else is on the pad. */
function changed() {
  part("hint").hidden = !pad.blank;
  part("undo").disabled = !pad.undoable;
  part("clear").disabled = part("compare").disabled = pad.blank;
  comparison.drop();
  samples?.mark(pad.sheet);
  live.cancel();
  if (pad.blank) {
    clearTimeout(retry);
    forget();
    part("notice").hidden = true;
  }
  ask();
}

/** Show no answer any more. */
function forget() {
  view.clear();
  part("seen").getContext("2d").clearRect(0, 0, 28, 28);
  charts.steps.show(null);
  charts.logits.show(null);
}

function compareAll() {
  const model = models.find(({ name }) => name === part("model").value);
  if (model) comparison.begin(pad.picture(), model, models);
}

/** Learn what is known of the model that is chosen, and turn to it. */
async function turn() {
  const name = part("model").value;
  live.cancel();
  if (!profiles.has(name)) profiles.set(name, (await getModel(name)).profile);
  if (part("model").value !== name) return; // another was chosen meanwhile
  const profile = /** @type {import("./tradeoff-chart.js").Profile} */ (profiles.get(name));
  controls.offer(methodsOf(profile));
  part("tradeoff-lead").textContent =
    `How far the logits are from those of a tight solve: the mean over ${profile.rows.toLocaleString("en")} digits, ` +
    `as measured for ${name}. The ring is about the point measured that is nearest to the present setting.`;
  changed();
}

/** Turn to the model that is chosen, and tell if that fails. */
const chooseModel = () => turn().catch(fail);

/** Learn what is served, and begin. */
async function start() {
  try {
    models = await listModels();
    const solving = models.filter(({ methods }) => methods.length);
    const chosen = solving.find((model) => model.default) ?? solving[0];
    part("model").replaceChildren(...solving.map(({ name }) => new Option(name, name, false, name === chosen.name)));
    await turn();
    if (!samples) {
      samples = await offer(part("samples"), (sheet) => pad.put(sheet));
      samples.begin();
    }
  } catch (error) {
    models = [];
    fail(/** @type {Error} */ (error));
  }
}

part("undo").addEventListener("click", () => pad.undo());
part("clear").addEventListener("click", () => pad.clear());
part("compare").addEventListener("click", compareAll);
part("model").addEventListener("change", chooseModel);
watch(part("pad"), [part("file"), part("camera")], async (file) => pad.put(await read(file)));
copying(document.querySelectorAll("[data-copy]"), part("copied"));
start();
