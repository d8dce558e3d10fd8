/**
 * # demo: a dragon, the main job
 *
 * **Nouns.** *Mesh*: vertices and triangles. *Bvh*: a tree over them in shared memory. *Tracer*:
 * the kernel that walks it by address.
 *
 * **Invariants.** No copy code: TypeScript builds, the GPU walks the same addresses, TypeScript
 * reads the picture where it is.
 *
 * **Locks.** None.
 *
 * **Example.** `onespace demo dragon --size 384 --out out/dragon.png`
 *
 * **What it refuses.** Meshes in other formats than PLY.
 */
export { runDragonCommand } from "./command.ts";
