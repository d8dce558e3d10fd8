/** Frames that follow each other go in one copy. */

/** Calls `visit` for each run of neighbouring frames in [from, to). */
export function forEachRun(
  frames: ArrayLike<number>,
  from: number,
  to: number,
  visit: (start: number, end: number) => void,
): void {
  for (let start = from; start < to; ) {
    let end = start + 1;
    while (end < to && frames[end] === frames[end - 1]! + 1) end++;
    visit(start, end);
    start = end;
  }
}
