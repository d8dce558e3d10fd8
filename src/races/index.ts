/**
 * # races: the races of HMM, with the real engine
 *
 * **Nouns.** *Race*: a scenario of two or three tasks on a stage, and the bound within which it is
 * explored to its end.
 *
 * **Invariants.** `checkWorld` after every step; a load finds the last store; at the end nothing is
 * left. Every race is explored to its end within its `bound`.
 *
 * **Locks.** Those of the engine.
 *
 * **Example.** `explore(RACES[0], RACES[0].bound)`
 *
 * **What it refuses.** Models: nothing here stands in for engine code.
 */
export { RACES } from "./races.ts";
