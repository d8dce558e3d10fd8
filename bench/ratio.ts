/** Pairs of timings, alternated in one run, and what is said of them. */

/** All of it is plain data: a row crosses from one process to another. */
export interface Row {
  readonly name: string;
  /** What is compared with what. */
  readonly versus: string;
  /** One ratio a round. */
  readonly ratios: readonly number[];
  /** Absolute figures, for orientation only. */
  readonly note: string;
  /** What the median is meant to be at most. */
  readonly goal?: number;
}

const ROUNDS = 9;

/** Runs `ours` and `peer` in turns; a ratio above 1 means that ours is slower. */
export async function alternate(
  ours: () => Promise<unknown>,
  peer: () => Promise<unknown>,
  rounds = ROUNDS,
): Promise<{ readonly ratios: number[]; readonly oursMs: number; readonly peerMs: number }> {
  await ours();
  await peer();
  const ratios: number[] = [];
  const oursMs: number[] = [];
  const peerMs: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const first = await timed(peer);
    const second = await timed(ours);
    ratios.push(second / first);
    oursMs.push(second);
    peerMs.push(first);
  }
  return { ratios, oursMs: median(oursMs), peerMs: median(peerMs) };
}

async function timed(body: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await body();
  return performance.now() - start;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1]!;
}

/** The row as a reader of a terminal sees it. */
export function lineOf(row: Row): string {
  const { name, versus, ratios, note, goal } = row;
  const range = ratios.length > 1 ? ` [${rangeOf(row)}]` : "";
  const aim = goal === undefined ? "" : `, goal <= ${goal}: ${judge(median(ratios), goal)}`;
  return `${name}: ${shown(median(ratios))}${range} of ${versus} (${note})${aim}`;
}

/** "0.51..0.62": the least and the most of the rounds. */
function rangeOf({ ratios }: Row): string {
  return `${shown(Math.min(...ratios))}..${shown(Math.max(...ratios))}`;
}

const judge = (ratio: number, goal: number): string =>
  ratio <= goal ? "met" : `missed by ${shown(ratio / goal)}x`;

const shown = (value: number): string => (value < 0.1 ? value.toPrecision(2) : value.toFixed(2));
