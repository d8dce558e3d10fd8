/**
 * # explore/engine: the races of HMM with the real engine
 *
 * **Nouns.** *Stage*: a small world (a space, a CPU, test devices, a few pages) with an oracle that
 * knows what every page must hold. *Engine scenario*: tasks on a stage, and how they are explored.
 *
 * **Invariants.** `checkWorld` after every step; a load finds the last store; at the end nothing is
 * left. Every scenario is explored to its end within its `bound`.
 *
 * **Locks.** Those of the engine.
 *
 * **Example.** `explore(ENGINE_SCENARIOS[0], ENGINE_SCENARIOS[0].bound)`
 *
 * **What it refuses.** Models: nothing here stands in for engine code.
 */
export { ENGINE_SCENARIOS, type EngineScenario } from "./scenarios.ts";
export { Stage } from "./stage.ts";
