// A model at work, epoch by epoch: the graph, then the prior correction, then the temperature.
//
// The same as Stager.step in src/sleepstage/engine/stager.py; docs/edge.md has it in words. Nothing
// here is particular to Node: it runs in a browser, too.

import * as ort from "onnxruntime-web";

import { unscoredReason } from "./features.js";

const FORMAT = 5; // of the model file
const TRUST = 30; // epochs of sleep after which a night's own mean weighs as much as the typical one
const AWAKE_EPOCHS = 120; // of certain wake that halve what is remembered
const BEFORE = 20; // epochs of sleep after which wake tells half as much of when sleep began
const SEEN = 8; // epochs of wake before sleep with which its begin counts as half seen
const BOUND = 1.0; // nats
const FLOOR = 1e-3; // of probability, in prior correction
const KNOT = 10; // epochs of sleep between two entries of the typical course
const TINY = 1e-9; // of probability, in logarithms elsewhere

ort.env.wasm.numThreads = 1; // a step is small: threads only cost

export class Stager {
  /**
   * Load a model.
   *
   * graph: content of the model file, a Uint8Array.
   * info: what `sleepstage info` says of it; runtimes in JavaScript can't read it from the file.
   */
  static async load(graph, info) {
    if (info.format !== FORMAT) {
      throw new Error(`model format ${info.format}; this example reads format ${FORMAT}`);
    }
    if (info.whole_night || info.look_ahead) {
      throw new Error("this example predicts each epoch at its end: the model has to be a live one");
    }
    const session = await ort.InferenceSession.create(graph);
    const [features, ...states] = session.inputMetadata;
    if (features.shape.at(-1) !== 2 * info.features.length) {
      throw new Error(`the model takes ${features.shape.at(-1) / 2} features, not those of its info`);
    }
    return new Stager(session, info, states);
  }

  constructor(session, info, states) {
    this.session = session;
    this.info = info;
    this.states = states;
  }

  /** State before the first epoch: zeros. */
  begin() {
    const zeros = (shape) => new Float32Array(shape.reduce((size, length) => size * length, 1));
    return {
      graph: this.states.map(({ shape }) => {
        const sizes = shape.map((size) => (typeof size === "number" ? size : 1)); // of one night
        return new ort.Tensor("float32", zeros(sizes), sizes);
      }),
      before: 0,
      asleep: 0,
      sums: this.info.classes.map(() => 0),
    };
  }

  /** What the next epoch is, from its features by name; the state after it; why it is unscored. */
  async advance(features, state) {
    const values = this.info.features.map((name) => {
      if (!(name in features)) {
        throw new Error(`unknown feature ${name}`);
      }
      return features[name];
    });
    // No runtime has to keep a NaN: zero where unknown, and then which are known.
    const known = values.map((value) => !Number.isNaN(value));
    const row = Float32Array.from([...values.map((value, at) => (known[at] ? value : 0)), ...known]);
    const inputs = [new ort.Tensor("float32", row, [1, 1, row.length]), ...state.graph];
    const outputs = await this.session.run(
      Object.fromEntries(this.session.inputNames.map((name, at) => [name, inputs[at]])),
    );
    const [predicted, ...graph] = this.session.outputNames.map((name) => outputs[name]);
    const [centred, course] = centre(Array.from(predicted.data), this.info.typical, state);
    const probabilities = temper(centred, this.info.temperature);
    // Epochs in the dark count in the state as all others do; only nothing is said of them.
    const reason = unscoredReason(features);
    return [reason === "" ? probabilities : null, { graph, ...course }, reason];
  }
}

/** Name of the class; with the model's factors, at its operating point. */
export function decide(probabilities, classes, factors = {}) {
  if (probabilities === null) {
    return "unscored";
  }
  const weighted = probabilities.map((share, at) => share * (factors[classes[at]] ?? 1));
  return classes[weighted.indexOf(Math.max(...weighted))];
}

/** How certain, from 0 to 1: 1 less the normalised entropy. */
export function certainty(probabilities) {
  if (probabilities === null) {
    return 0;
  }
  const entropy = -sum(probabilities.map((share) => share * Math.log(share + TINY)));
  return clip(1 - entropy / Math.log(probabilities.length), 0, 1);
}

/** Online prior correction, by the mean of the sleep so far; wake is the first class. */
function centre(predicted, typical, { before, asleep, sums }) {
  if (!typical.length) {
    return [predicted, { before, asleep, sums }];
  }
  const raw = predicted.map((share) => Math.log(share + FLOOR));
  const logs = raw.map((log) => log - sum(raw) / raw.length);
  const awake = predicted[0];
  const kept = 1 - (1 - 0.5 ** (1 / AWAKE_EPOCHS)) * awake;
  const sleep = (1 - awake) ** 2;
  const course = {
    asleep: kept * asleep + sleep,
    sums: sums.map((sum, at) => kept * sum + sleep * logs[at]),
  };
  course.before = before + awake * 0.5 ** (course.asleep / BEFORE);
  const seen = course.before ** 2 / (course.before ** 2 + SEEN ** 2);
  const expected = interpolate(typical, course.asleep / KNOT);
  const odds = logs.map((log, at) => {
    const surplus = course.sums[at] - course.asleep * expected[at];
    return Math.exp(log - clip((seen * surplus) / (course.asleep + TRUST), -BOUND, BOUND));
  });
  return [odds.map((one) => one / sum(odds)), course];
}

/** Entry of the typical course at a position between two knots; after the last it stays. */
function interpolate(typical, position) {
  const at = Math.min(position, typical.length - 1);
  const [before, after] = [typical[Math.floor(at)], typical[Math.ceil(at)]];
  return before.map((value, one) => value + (at - Math.floor(at)) * (after[one] - value));
}

/** Sharpen or soften probabilities. */
function temper(probabilities, temperature) {
  const logs = probabilities.map((share) => Math.log(share + TINY) / temperature);
  const odds = logs.map((log) => Math.exp(log - Math.max(...logs)));
  return odds.map((one) => one / sum(odds));
}

function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}

function clip(value, low, high) {
  return Math.min(Math.max(value, low), high);
}
