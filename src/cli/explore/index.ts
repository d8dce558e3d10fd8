/**
 * # cli/explore: the command that explores
 *
 * **Nouns.** *Plan*: what the words of the command line ask for, checked. *Run*: doing it.
 *
 * **Invariants.** Status 1 when something failed that should not, 2 for words that make no sense.
 * With `--json` the last line is one object.
 *
 * **Locks.** None.
 *
 * **Example.** `onespace explore --engine --seconds 60`
 *
 * **What it refuses.** Two things at a time: museum, engine, or a file.
 */
export { exploreArgs, planOf } from "./plan.ts";
export { runPlan } from "./run.ts";
