/**
 * # conformance: does it behave as Linux does?
 *
 * **Nouns.** *Trace*: recorded operations and answers of Linux. *Actor*: a process of a trace.
 * *Replay*: the same operations here, compared answer by answer. *hmm-tests*: the kernel's own
 * tests of HMM, here.
 *
 * **Invariants.** A replay sees no answer of Linux before it has given its own. All checkers run
 * after every operation.
 *
 * **Locks.** None.
 *
 * **Example.** `runConformance({ traces: "test/conformance/traces", families: ["A"], … })`.
 *
 * **What it refuses.** Operations of families that the engine does not have yet: they count as
 * mismatches, never as passed.
 */
export { type HmmTestRow, runHmmTests } from "./hmm-tests/index.ts";
export { runConformance } from "./run.ts";
