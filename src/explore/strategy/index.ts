/**
 * # explore/strategy: who runs next
 *
 * **Nouns.** *Search*: gives one schedule after another. `Dpor` and `Dfs` are exhaustive,
 * `PctSearch` and `RandomSearch` draw; *Replay* gives one that is known.
 *
 * **Invariants.** A search sees task numbers and what steps touched, never a task. Asked for the
 * same steps again it gives the same answer.
 *
 * **Locks.** None.
 *
 * **Example.** `const search = new Dfs({ preemptionsMax: 2 }); while (search.begin()) …`
 *
 * **What it refuses.** Scenarios that are not the same the second time.
 */
export { Dfs } from "./dfs.ts";
export { Dpor } from "./dpor.ts";
export { PctSearch } from "./pct.ts";
export { RandomSearch } from "./random.ts";
export { Replay } from "./replay.ts";
export type { Search } from "./search.ts";
