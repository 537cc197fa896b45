// A night in CSV files to one line of JSON per epoch; usage below.

import { readFile } from "node:fs/promises";
import { parseArgs } from "node:util";

import { EPOCH_SECONDS, beginNight, closeEpoch } from "./features.js";
import { Stager, certainty, decide } from "./model.js";

const USAGE = `usage: node stage.js MODEL.onnx INFO.json --start SECONDS --epochs N [options]

INFO.json is what "sleepstage info MODEL.onnx --json" prints. Any signal may be missing:

  --heart-rate FILE  CSV: time (s), bpm
  --motion FILE      CSV: time (s), counts, peak_x_g, peak_y_g, peak_z_g, of 15 s each
  --steps FILE       CSV: time (s), steps
  --find-rem         decide at the model's operating point
  --features         print the features, too`;

const PLAUSIBLE_BPM = [25, 240]; // a watch writes 0 when it has lost the pulse

async function main() {
  const { values: options, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      start: { type: "string" },
      epochs: { type: "string" },
      "heart-rate": { type: "string" },
      motion: { type: "string" },
      steps: { type: "string" },
      "find-rem": { type: "boolean" },
      features: { type: "boolean" },
    },
  });
  const [model, about] = positionals;
  const [start, nEpochs] = [Number(options.start ?? NaN), Number(options.epochs ?? NaN)];
  if (positionals.length !== 2 || !Number.isFinite(start) || !Number.isInteger(nEpochs)) {
    throw new Error(USAGE);
  }
  const info = JSON.parse(await readFile(about, "utf8"));
  const stager = await Stager.load(await readFile(model), info);
  const [low, high] = PLAUSIBLE_BPM;
  const beats = await readSamples(options["heart-rate"], 1);
  const signals = {
    heartRate: signal(beats.filter(([, bpm]) => bpm >= low && bpm <= high)),
    motion: signal(await readSamples(options.motion, 4)),
    steps: signal(await readSamples(options.steps, 1)),
  };

  let night = beginNight(start);
  let state = stager.begin();
  for (let epoch = 0; epoch < nEpochs; epoch += 1) {
    let features, probabilities, reason;
    [features, night] = closeEpoch(night, signals);
    [probabilities, state, reason] = await stager.advance(features, state);
    const line = {
      time: start + epoch * EPOCH_SECONDS,
      stage: decide(probabilities, info.classes, options["find-rem"] ? info.factors : {}),
      probabilities:
        probabilities &&
        Object.fromEntries(info.classes.map((name, at) => [name, probabilities[at]])),
      confidence: certainty(probabilities),
      ...(reason && { reason }), // not_worn or no_data
      ...(info.simulated && { simulated: true }), // trained on nights of no person
      ...(options.features && { features }), // NaN is null in JSON
    };
    console.log(JSON.stringify(line));
  }
}

/** Lines of a CSV file of numbers, sorted and each once; none where no file is given. */
async function readSamples(path, nValues) {
  if (path === undefined) {
    return [];
  }
  const lines = (await readFile(path, "utf8")).split(/\r?\n/);
  const rows = [];
  for (const [at, line] of lines.entries()) {
    if (line === "" || (at === 0 && /^[a-z]/i.test(line))) {
      continue; // a header
    }
    const row = line.split(",").map((field) => (field.trim() === "" ? NaN : Number(field)));
    if (row.length !== 1 + nValues || !row.every(Number.isFinite)) {
      throw new Error(`${path}, line ${at + 1}: expected ${1 + nValues} numbers, found ${line}`);
    }
    rows.push(row);
  }
  rows.sort(compare);
  return rows.filter((row, at) => at === 0 || compare(row, rows[at - 1]) !== 0);
}

/** By time, and by value where times are equal. */
function compare(row, other) {
  const at = row.findIndex((value, column) => value !== other[column]);
  return at < 0 ? 0 : row[at] - other[at];
}

function signal(rows) {
  return {
    times: rows.map(([time]) => time),
    values: rows.map(([, ...values]) => (values.length === 1 ? values[0] : values)),
  };
}

main().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
