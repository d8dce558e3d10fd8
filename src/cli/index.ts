/**
 * # cli: the command line
 *
 * **Nouns.** `doctor`: what this machine offers and what will be used. `demo`: the main job.
 * `conformance`: replays recorded Linux behaviour.
 *
 * **Invariants.** Every command has `--json`, whose last line is one JSON object; exit codes are
 * 0 ok, 1 failure, 2 usage.
 *
 * **Locks.** None.
 *
 * **Example.** `onespace conformance --traces test/conformance/traces --family A --json`
 *
 * **What it refuses.** Options that it does not know.
 */
export { root } from "./commands.ts";
