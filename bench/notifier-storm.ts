/**
 * How long a reader of page tables takes in a storm of invalidations, with the escape of
 * `CollisionRetry` after so many collisions and without. Three writers never stop taking the four
 * pages away that the reader wants to write; the scheduler gives them `pace` steps for each of the
 * reader's. Attempts are the machine-independent figure; the bound is what `collision-retry.ts`
 * proves: collisions until the escape, others' events after it, two a page of its own, and one.
 */
import { BY_FRAME, runStorm, STORM_PAGES, type StormResult } from "../test/schedule/storm.ts";
import type { Row } from "./ratio.ts";

const STORMS = 200;
/** What `CollisionRetry` does by itself. */
const DEFAULT_MAX = 4;
const GIVE_UP = 100;
const NEVER = Number.POSITIVE_INFINITY;

export function showStorm(): Row[] {
  const worst: number[] = [];
  console.log("\nnotifier: a reader in a storm of invalidations (3 writers, 4 pages)");
  console.log("  pace  escape after   attempts p50 p99 max  bound    ms p50    p99   gave up");
  for (const pace of [10, 40]) {
    for (const collisionsMax of [0, 4, 16, NEVER]) {
      const results = Array.from({ length: STORMS }, (_, seed) =>
        runStorm({ seed, pace, kinds: BY_FRAME, collisionsMax, attemptsMax: GIVE_UP }),
      );
      console.log(line(pace, collisionsMax, results));
      if (collisionsMax !== DEFAULT_MAX) continue;
      worst.push(...results.map((each) => each.attempts / boundOf(collisionsMax, each)));
    }
  }
  return [
    {
      name: "notifier: attempts of a reader in a storm of invalidations, the worst of 400",
      versus: "the bound that is proved",
      ratios: [Math.max(...worst)],
      note: `it goes first after ${DEFAULT_MAX} collisions`,
    },
  ];
}

const boundOf = (collisionsMax: number, { events }: StormResult): number =>
  collisionsMax + events + 2 * STORM_PAGES + 1;

function line(pace: number, collisionsMax: number, results: readonly StormResult[]): string {
  const attempts = results.map((each) => each.attempts).sort((a, b) => a - b);
  const ms = results.map((each) => each.ms).sort((a, b) => a - b);
  const gaveUp = results.filter((each) => each.result !== 0).length;
  const bounds = results.map((each) => boundOf(collisionsMax, each));
  const late = results.findIndex((each, i) => each.attempts > bounds[i]!);
  if (late >= 0) throw new Error(`storm ${late} took ${results[late]!.attempts} attempts`);
  const bound = collisionsMax === NEVER ? "none" : String(Math.max(...bounds));
  const cells = [
    String(pace).padStart(6),
    (collisionsMax === NEVER ? "never" : `${collisionsMax} collisions`).padStart(14),
    String(quantile(attempts, 0.5)).padStart(15),
    String(quantile(attempts, 0.99)).padStart(4),
    String(attempts.at(-1)).padStart(4),
    bound.padStart(6),
    quantile(ms, 0.5).toFixed(2).padStart(9),
    quantile(ms, 0.99).toFixed(2).padStart(7),
    `${gaveUp} of ${STORMS}`.padStart(11),
  ];
  return cells.join(" ");
}

const quantile = (sorted: readonly number[], part: number): number =>
  sorted[Math.min(Math.floor(sorted.length * part), sorted.length - 1)]!;
