/**
 * # conformance/hmm-tests: the kernel's self tests of HMM, ours
 *
 * **Nouns.** *HmmTest*: one test, named as the kernel names it. *Stage*: the fresh world that it
 * plays in, with test devices and a process that has them open. *Row*: how one test ended on one
 * kind of device, private (the CPU cannot touch its memory) or coherent (it can).
 *
 * **Invariants.** Buffers are as large as the kernel's and every word of them is looked at. After
 * every test everything is given back and every checker runs: nothing may be left.
 *
 * **Locks.** None.
 *
 * **Example.** `runHmmTests().failed === 0`.
 *
 * **What it refuses.** To call a test passed that it did not run: that is a skip, with its reason.
 */
export {
  type HmmTestRow,
  runHmmTests,
  /** @forTests */
  runTest,
} from "./run.ts";
