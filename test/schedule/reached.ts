/** Runs a program under many random schedules and tells which races none of them reached. */
import type { EventName, Tracer } from "../../src/trace/index.ts";
import { eachSeed } from "../replay/replay.ts";

/**
 * Schedules that never reach these races prove little: the names of those that were not; none
 * where one schedule of `program` is run again.
 */
export function missedIn(
  program: string,
  runs: number,
  names: readonly EventName[],
  run: (seed: number) => { readonly world: { readonly tracer: Tracer } },
): EventName[] {
  const missed = new Set(names);
  const isAll = eachSeed(program, runs, (seed) => {
    const { tracer } = run(seed).world;
    for (const name of missed) if (tracer.count(name) > 0) missed.delete(name);
  });
  return isAll ? [...missed] : [];
}
