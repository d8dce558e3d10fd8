/** Pairs of timings, alternated in one run, and what is said of them. */
import type { Declared } from "./rows.ts";

/** All of it is plain data: a row crosses from one process to another. */
export interface Row {
  /** As in `rows.ts`, which also says what it is meant to reach. */
  readonly name: string;
  /** What is compared with what. */
  readonly versus: string;
  /** One ratio a round. */
  readonly ratios: readonly number[];
  /** What nobody could be below, measured in the same run. */
  readonly floor?: number;
  /** Absolute figures, for orientation only. */
  readonly note: string;
}

/** A row and what is wanted of it, as it is printed and as JSON has it. */
export interface Figure extends Declared {
  readonly bench: string;
  readonly ratio: number;
  readonly ratios: readonly number[];
  readonly note: string;
  readonly floor?: number;
  /** How many times the goal the ratio is, if that is more than once. */
  readonly missedBy?: number;
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

export function figureOf(bench: string, declared: Declared, row: Row): Figure {
  const ratio = median(row.ratios);
  const figure = { bench, ...declared, ratio, ...row };
  const { goal } = declared;
  return goal === undefined || ratio <= goal ? figure : { ...figure, missedBy: ratio / goal };
}

/** The figure as a reader of a terminal sees it. */
export function lineOf(figure: Figure): string {
  const { name, versus, note } = figure;
  const aim = figure.goal === undefined ? "" : `; ${goalOf(figure)}`;
  return `${name}: ${ratioOf(figure)} of ${versus} (${note})${aim}`;
}

/** "0.56 (0.51 to 0.62)": the median, the least and the most of the rounds. */
export function ratioOf({ ratio, ratios }: Figure): string {
  if (ratios.length === 1) return shown(ratio);
  return `${shown(ratio)} (${shown(Math.min(...ratios))} to ${shown(Math.max(...ratios))})`;
}

/** "goal ≤ 1.3, missed by 2.1x", and nothing where nothing is wanted. */
export function goalOf({ goal, missedBy, floor }: Figure): string {
  if (goal === undefined) return "";
  const end = missedBy === undefined ? "met" : `missed by ${shown(missedBy)}x`;
  return `goal ≤ ${goal}, ${end}${floor === undefined ? "" : `; the floor is ${shown(floor)}`}`;
}

const shown = (value: number): string => (value < 0.1 ? value.toPrecision(2) : value.toFixed(2));
