/** What a night amounts to, in a sentence and in tables. */

import { make, table } from "./dom.js";
import { EPOCH, STAGES, duration, epochName, percent, stageName } from "./format.js";

/** The charts of a night in one sentence. */
export function summaryOf({ epochs, statistics }) {
  if (!epochs.length) return "There is no epoch yet.";
  const { time_in_bed: bed, total_sleep_time: sleep, minutes } = statistics;
  const parts = ["light", "deep", "rem"].map((name) => {
    const word = name === "rem" ? "REM" : name;
    return `${duration(minutes[name])} ${word}`;
  });
  return `${duration(bed)} in bed, ${duration(sleep)} of it asleep: ${parts.join(", ")}.`;
}

export function statisticsTables({ epochs, statistics }) {
  const { time_in_bed: bed, minutes } = statistics;
  const share = (part) => (bed ? percent(part / bed) : "–");
  const unknown = {};
  for (const epoch of epochs.filter(({ stage }) => stage === "unscored")) {
    unknown[epochName(epoch)] = (unknown[epochName(epoch)] ?? 0) + EPOCH / 60;
  }
  const rows = [
    ...STAGES.map((name) => [name, stageName(name), minutes[name]]),
    ...Object.entries(unknown).map(([name, part]) => ["unscored", name, part]),
  ];
  return [
    table(null, [
      ["Time in bed", duration(bed)],
      ["Total sleep time", duration(statistics.total_sleep_time)],
      ["Sleep onset latency", duration(statistics.sleep_onset_latency)],
      ["Latency to persistent sleep", duration(statistics.latency_to_persistent_sleep)],
      ["Wake after sleep onset", duration(statistics.wake_after_sleep_onset)],
      ["Sleep efficiency", percent(statistics.sleep_efficiency)],
    ]),
    table(
      ["Stage", "Time", "Of time in bed"],
      rows.map(([stage, name, part]) => [named(stage, name), duration(part), share(part)]),
    ),
  ];
}

const named = (stage, name) => make("span", {}, make("i.mark", { "data-stage": stage }), name);
