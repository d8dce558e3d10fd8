/**
 * # check: the heavy checkers
 * They walk everything and count afresh; for tests, replays and explorers, after a step. A law is
 * a file: what must hold is its head, and the first thing that does not hold is an
 * `AssertionError` that names it. Linux: mm's VM_BUG_ONs and check_mm().
 *
 * **Nouns.** *Shadow*: what a CPU or a device reaches without asking. *Law*: a plain function that
 * throws. *At rest*: no task runs; then more holds than between two steps.
 *
 * **Invariants.** A checker changes nothing, and an explorer does not see it look.
 *
 * **Locks.** None: all of it is one step.
 *
 * **Example.**
 * ```ts
 * scheduler.afterStep = () => checkWorld(memory, { shadows: [cpu, device], isQuiet: false });
 * checkWorld(memory, { shadows: [], isOver: true });     // everybody has left: nothing may be left
 * ```
 *
 * **What it refuses.** Mending. What it cannot see (a hardware's own table, its TLB) a device must
 * say in its shadow.
 */
export { type CheckOptions, checkWorld } from "./check-world.ts";
export {
  REACH_COPY,
  REACH_EXCLUSIVE,
  REACH_WRITE,
  reachableIn,
  type Shadow,
  type ShadowVisitor,
  tableShadow,
} from "./shadow.ts";
