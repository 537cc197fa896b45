/** A hypnogram as a file, with the columns that `Hypnogram.to_frame` has. */

import { make } from "./dom.js";
import { STAGES } from "./format.js";

const KEPT = 10000; // ms in which the browser takes the file

export function download(epochs, { simulated, id }) {
  const columns = {
    time: (epoch) => epoch.time,
    stage: (epoch) => epoch.stage,
    ...Object.fromEntries(STAGES.map((name) => [`p_${name}`, (epoch) => epoch.probabilities[name]])),
    confidence: (epoch) => epoch.confidence,
    reason: (epoch) => epoch.reason,
    heart_rate: (epoch) => epoch.heart_rate,
    activity: (epoch) => epoch.activity,
    ...(simulated ? { simulated: () => true } : {}),
  };
  const rows = epochs.map((epoch) => Object.values(columns).map((read) => read(epoch) ?? ""));
  const text = [Object.keys(columns), ...rows].map((row) => `${row.join(",")}\n`).join("");
  const address = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  make("a", { href: address, download: `hypnogram-${id}.csv` }).click();
  setTimeout(() => URL.revokeObjectURL(address), KEPT);
}
