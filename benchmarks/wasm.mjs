// How a page without a server would solve, in onnxruntime-web, on one thread, in Node.js: by solve.onnx, which has the loop
// over bosh3's steps inside, and by the graph of one step of dopri5, in a loop here.
//
// It prints the sizes of what a browser would load, and the time of a solve at several tolerances. With the address of a
// running service, it also compares the answers to 1,000 test digits. Run it from the root of the repository:
//
//     npm install --no-save onnxruntime-web@1.30.0
//     node benchmarks/wasm.mjs http://127.0.0.1:8000

import { readFile } from "node:fs/promises";
import { gunzipSync, gzipSync } from "node:zlib";
import * as ort from "onnxruntime-web";

const MODEL = "models/fitted/odenet-mnist/5";
const RUNTIME = "node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm";
const DIGITS = "data/mnist/t10k-images-idx3-ubyte.gz";
const SIDE = 28;
const HEADER = 16; // bytes before the first image of an IDX file
const COMPARED = 1000;
const BATCH = 50;
const ROUNDS = 15;
const WARM_UP = 100; // solves before the first timed one, because the engine of JavaScript compiles better code meanwhile
const TOLERANCES = [1, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6];
const STEP = { method: "dopri5", exponent: 5, evaluations: 6, first: 2 }; // `first` is FIRST_STEP of models/solvers/solve.py
const DEFAULT = { method: "bosh3", tolerance: 0.1 };

async function size(name, path) {
  const content = await readFile(path);
  const megabytes = (bytes) => `${(bytes / 1e6).toFixed(2)} MB`;
  console.log(`${name}: ${megabytes(content.length)}, compressed by gzip ${megabytes(gzipSync(content).length)}`);
}

async function load(name) {
  const data = new Uint8Array(await readFile(`${MODEL}/weights.safetensors`));
  return ort.InferenceSession.create(await readFile(`${MODEL}/${name}.onnx`), {
    externalData: [{ path: "weights.safetensors", data }],
  });
}

const imagesOf = (pixels) => new ort.Tensor("uint8", pixels, [pixels.length / SIDE ** 2, SIDE, SIDE]);

const column = (rows, value) => new ort.Tensor("float32", new Float32Array(rows).fill(value), [rows]);

function solve(graph, pixels, tolerance) {
  const image = imagesOf(pixels);
  const tolerances = column(image.dims[0], tolerance);
  return graph.run({ image, rtol: tolerances, atol: tolerances });
}

// Solve one image. The loop is the one of models/solvers/solve.py.
async function solveInSteps({ stem, dynamics, step, head }, pixels, tolerance) {
  const tolerances = column(1, tolerance);
  const steps = Math.max(1, Math.round(tolerance ** (-1 / STEP.exponent) / STEP.first));
  let { z } = await stem.run({ image: imagesOf(pixels) });
  let [t, h] = [column(1, 0), column(1, 1 / steps)];
  let { derivative: k1 } = await dynamics.run({ t, z });
  let nfe = 1;
  while (t.data[0] < 1) {
    const after = await step.run({ z, k1, t, h, rtol: tolerances, atol: tolerances });
    [z, k1, t, h] = [after.z_next, after.k1_next, after.t_next, after.h_next];
    nfe += STEP.evaluations;
  }
  const { logits } = await head.run({ z });
  return { logits, nfe: { data: [nfe] } };
}

async function time(solveOnce, tolerance) {
  const times = [];
  for (let round = 0; round < ROUNDS; round++) {
    const start = performance.now();
    await solveOnce(tolerance);
    times.push(performance.now() - start);
  }
  return times.sort((a, b) => a - b)[Math.floor(ROUNDS / 2)];
}

async function report(method, solveOnce) {
  for (let solved = 0; solved < WARM_UP; solved++) await solveOnce(DEFAULT.tolerance);
  for (const tolerance of TOLERANCES) {
    const { nfe } = await solveOnce(tolerance);
    const median = await time(solveOnce, tolerance);
    console.log(`${method} at ${tolerance}: ${nfe.data[0]} NFE, ${median.toFixed(1)} ms`);
  }
}

function softmax(logits) {
  const greatest = Math.max(...logits);
  const powers = logits.map((logit) => Math.exp(logit - greatest));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}

async function compare(service, graph, pixels, temperature) {
  const query = `method=${DEFAULT.method}&tolerance=${DEFAULT.tolerance}&count=${BATCH}&allow_degraded=false`;
  let different = 0;
  let greatest = 0;
  for (let first = 0; first < COMPARED; first += BATCH) {
    const batch = pixels.slice(first * SIDE ** 2, (first + BATCH) * SIDE ** 2);
    const { logits } = await solve(graph, batch, DEFAULT.tolerance);
    const headers = { "content-type": "application/octet-stream" };
    const answer = await fetch(`${service}/predict?${query}`, { method: "POST", headers, body: batch });
    const { predictions } = await answer.json();
    for (const [row, { digit, probabilities }] of predictions.entries()) {
      const here = softmax([...logits.data.slice(10 * row, 10 * row + 10)].map((logit) => logit / temperature));
      different += Number(here.indexOf(Math.max(...here)) !== digit);
      greatest = Math.max(greatest, ...here.map((each, at) => Math.abs(each - probabilities[at])));
    }
  }
  console.log(
    `${COMPARED} digits: ${different} differ; greatest difference of a probability ${greatest.toExponential(1)}`,
  );
}

await size("runtime", RUNTIME);
await size("weights", `${MODEL}/weights.safetensors`);
await size("solve.onnx", `${MODEL}/solve.onnx`);
ort.env.wasm.numThreads = 1;
const graph = await load("solve");
const parts = {
  stem: await load("stem"),
  dynamics: await load("dynamics"),
  step: await load(`step-${STEP.method}`),
  head: await load("head"),
};
const { temperature } = JSON.parse(await readFile(`${MODEL}/manifest.json`, "utf8"));
const digits = gunzipSync(await readFile(DIGITS));
const pixels = new Uint8Array(digits.subarray(HEADER, HEADER + COMPARED * SIDE ** 2));
const one = pixels.slice(0, SIDE ** 2);
await report(DEFAULT.method, (tolerance) => solve(graph, one, tolerance));
await report(STEP.method, (tolerance) => solveInSteps(parts, one, tolerance));
const [service] = process.argv.slice(2);
if (service) await compare(service, graph, pixels, temperature);
