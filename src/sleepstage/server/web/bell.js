/** The sound of an alarm, and a screen that stays on for it. */

const PERIOD = 2; // s
const NOTES = [659.3, 830.6, 987.8]; // Hz, one after the other
const LENGTH = 0.45; // s of each
const SWELL = 60; // s from hardly audible to loud
const SOFTEST = 0.03;
const TEST = 4; // s

let context = null;

/** Browsers play no sound until somebody has clicked: call this from a click. */
export function unlock() {
  context ??= new AudioContext();
  return context.resume();
}

export const isUnlocked = () => context?.state === "running";

/** Ring louder and louder. @returns {(() => void)|null} to stop it; null if it makes no sound */
export function ring() {
  context?.resume(); // a call may have interrupted it
  if (!isUnlocked()) return null;
  const source = play(context, SWELL);
  return () => source.stop();
}

/** Let somebody hear how loud it gets. */
export async function test() {
  await unlock();
  play(context, TEST / 2).stop(context.currentTime + TEST);
}

/** The sound repeats by itself: a timer would be late in a tab in the background. */
export function play(into, swell) {
  const source = new AudioBufferSourceNode(into, { buffer: chime(into), loop: true });
  const loudness = new GainNode(into, { gain: SOFTEST });
  loudness.gain.setValueAtTime(SOFTEST, into.currentTime);
  loudness.gain.exponentialRampToValueAtTime(1, into.currentTime + swell);
  source.connect(loudness).connect(into.destination);
  source.start();
  return source;
}

/** Three notes that die away, and a rest. */
function chime(into) {
  const rate = into.sampleRate;
  const buffer = into.createBuffer(1, PERIOD * rate, rate);
  const samples = buffer.getChannelData(0);
  NOTES.forEach((pitch, number) => {
    const begin = Math.round(number * LENGTH * rate);
    for (let i = 0; i < LENGTH * rate; i += 1) {
      const time = i / rate;
      const shape = Math.min(time / 0.01, 1) * (1 - time / LENGTH);
      samples[begin + i] = shape * Math.sin(2 * Math.PI * pitch * time);
    }
  });
  return buffer;
}

/**
 * Keep the screen on while something is due, where the browser can.
 *
 * @returns {{keep: (wanted: boolean) => void, isKept: () => boolean}}
 */
export function screen() {
  let [lock, asking] = [null, false];

  async function ask() {
    asking = true;
    try {
      lock = await navigator.wakeLock.request("screen");
    } catch {
      lock = null; // as with little battery; the page says so
    }
    asking = false;
  }

  return {
    keep(wanted) {
      const held = lock && !lock.released;
      if (!wanted && held) lock.release();
      // A browser takes it away whenever the page is hidden.
      else if (wanted && !held && !asking && navigator.wakeLock && !document.hidden) ask();
    },
    isKept: () => Boolean(lock && !lock.released),
  };
}
