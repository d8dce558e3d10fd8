/**
 * # museum/collision-retry: the RFC of June 2019, bug by bug
 *
 * **Nouns.** *Invlock*: the collision-retry lock that the RFC proposed, with a switch for each of
 * its bugs. *Descendants*: what became of it in Linux, and ours. *Scene*: those who meet at the
 * lock.
 *
 * **Invariants.** Every lock stands in the same scenes, under the same rules.
 *
 * **Locks.** Those of the models, as the code of the time took them.
 *
 * **Example.** `visit(COLLISION_RETRY_RFC[0])` shows B-70.
 *
 * **What it refuses.** The names that do not agree in the RFC: a compiler finds that, a schedule
 * does not.
 */
export { COLLISION_RETRY_RFC } from "./rfc.ts";
