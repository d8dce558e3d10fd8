/** Pages that follow each other. */

/** A run of pages [start, end). */
export interface PageRun {
  readonly start: number;
  readonly end: number;
}

/** Runs that follow each other as one: every piece with rights of its own costs the host. */
export function mergeRuns(runs: Iterable<PageRun>): PageRun[] {
  const merged: PageRun[] = [];
  for (const run of runs) {
    const last = merged.at(-1);
    if (last?.end === run.start) merged[merged.length - 1] = { start: last.start, end: run.end };
    else merged.push(run);
  }
  return merged;
}
