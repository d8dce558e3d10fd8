/**
 * # museum: the historical bugs of HMM, as models
 *
 * **Nouns.** *Exhibit*: one bug of the catalogue. *Version*: a protocol as a model; an exhibit has
 * one with the bug, and one or more without it. *Visit*: the explorer's answer to an exhibit.
 * *Refuted*: called a bug, and no schedule shows it. *Documentation only*: nothing to run. *Room*:
 * exhibits that share a theme; `model` is the room of the words that they are written in.
 *
 * **Invariants.**
 * - Every number of the catalogue is an exhibit, or documentation only; no id is there twice.
 * - The bug is in what the protocol does. The rules that it breaks are in force in the fixed
 *   versions, too, which do the same work and keep the race.
 * - A visit finds the bug as the exhibit says it, and explores fixed versions to their end.
 * - docs/museum.md is made from the visits (`npm run museum`).
 *
 * **Locks.** Those of the models.
 *
 * **Example.**
 * ```ts
 * const { buggy, isClean } = visit(MUSEUM.find(({ id }) => id === "B-01")!);
 * buggy.failure?.shortest; // "1x4.2x6.1"
 * ```
 *
 * **What it refuses.** Code of the engine: models are of protocols as they were. A bug that is
 * planted by hand: a model fails because it breaks a rule.
 */
export { cataloguePage } from "./catalogue-page.ts";
export { MUSEUM } from "./collection.ts";
export { type Exhibit, scenarioOf, type Version } from "./exhibit.ts";
/** @forTests */
export { Model } from "./model/index.ts";
export { type Visit, visit } from "./visit.ts";
