/** # machine (door to be completed) */
export { type CheckOptions, checkWorld, type Shadow } from "./check.ts";
export { buildWorld, type World, type WorldOptions } from "./world.ts";
