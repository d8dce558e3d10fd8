/** Runs a program under many random schedules and tells which races none of them reached. */
import type { EventName, Tracer } from "../../src/trace/index.ts";

/** Schedules that never reach these races prove little: the names of those that were not. */
export function missedIn(
  runs: number,
  names: readonly EventName[],
  run: (seed: number) => { readonly world: { readonly tracer: Tracer } },
): EventName[] {
  const missed = new Set(names);
  for (let seed = 1; seed <= runs; seed++) {
    const { tracer } = run(seed).world;
    for (const name of missed) if (tracer.count(name) > 0) missed.delete(name);
  }
  return [...missed];
}
