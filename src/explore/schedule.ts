/**
 * A schedule is who ran at each step. Written as text it is runs of steps: `1x3.2.1` is task 1
 * three times, task 2 once, task 1 until it stops. The last run may be left out: after the text
 * ends, the task that ran goes on as long as it can, then the lowest number.
 */

import { SearchError } from "./failure.ts";

/** Task number of each step. */
export type Schedule = readonly number[];

/** A text that does not say a schedule, or a schedule of something else. */
export class ScheduleError extends SearchError {
  override readonly name = "ScheduleError";
}

export interface Segment {
  readonly task: number;
  readonly steps: number;
}

export function segmentsOf(schedule: Schedule): Segment[] {
  const segments: { task: number; steps: number }[] = [];
  for (const task of schedule) {
    const last = segments.at(-1);
    if (last?.task === task) last.steps++;
    else segments.push({ task, steps: 1 });
  }
  return segments;
}

export const stepsOf = (segments: readonly Segment[]): number[] =>
  segments.flatMap(({ task, steps }) => new Array<number>(steps).fill(task));

export function formatSchedule(schedule: Schedule): string {
  const words = segmentsOf(schedule).map(({ task, steps }) =>
    steps === 1 ? `${task}` : `${task}x${steps}`,
  );
  return words.join(".") || "-";
}

const STEPS_MAX = 1_000_000;

export function parseSchedule(text: string): number[] {
  if (text === "-") return [];
  let total = 0;
  const segments = text.split(".").map((word) => {
    const match = /^(\d{1,6})(?:x(\d{1,7}))?$/.exec(word);
    const task = Number(match?.[1]);
    const steps = Number(match?.[2] ?? 1);
    total += steps;
    if (match === null || task === 0 || steps === 0 || total > STEPS_MAX) {
      throw new ScheduleError(
        `a schedule is words like 3 or 3x12 with dots between, got "${word}" in "${text}"`,
      );
    }
    return { task, steps };
  });
  return stepsOf(segments);
}
