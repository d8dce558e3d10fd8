/**
 * How long a thread may sleep between two looks while it waits for the GPU's library, which looks
 * each time the event loop turns. To look all the time takes a core from who works (a software
 * device first of all), and leaves something to collect each time.
 */

/** Short work ends in it: to sleep and wake takes as long. */
const AWAKE_MS = 0.1;
/** One that sleeps less has not slept. */
const LEAST_MS = 0.05;
/** Of what it has waited: so much later it hears of the end. */
const PART = 1 / 16;

/** For who has waited for so long and sleeps `mostMs` at most. Milliseconds; 0: not yet. */
export function napAfter(waitedMs: number, mostMs: number): number {
  if (waitedMs < AWAKE_MS) return 0;
  return Math.min(mostMs, Math.max(LEAST_MS, waitedMs * PART));
}
