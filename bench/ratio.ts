/** Pairs of timings, alternated in one run, and what is said of them. */

export interface Row {
  readonly name: string;
  /** What is compared with what. */
  readonly versus: string;
  /** One ratio a round. */
  readonly ratios: readonly number[];
  /** Absolute figures, for orientation only. */
  readonly note: string;
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

export function printRow({ name, versus, ratios, note }: Row): void {
  const sorted = [...ratios].sort((a, b) => a - b);
  const low = sorted[0]!;
  const high = sorted[sorted.length - 1]!;
  const shown = (value: number): string =>
    value < 0.1 ? value.toExponential(2) : value.toFixed(2);
  const range = ratios.length > 1 ? ` [${shown(low)}..${shown(high)}]` : "";
  console.log(`${name}: ${shown(median(ratios))}${range} of ${versus} (${note})`);
}
