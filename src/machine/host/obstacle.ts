/** Why this thread cannot make a machine with page faults. */
import { isMainThread } from "node:worker_threads";
import { type Obstacle, whyNotHost } from "../../cpu/index.ts";

/**
 * A machine's threads end with the thread that makes it, without a moment in which they could let
 * go of the window: whoever touched it afterwards would wait for ever. The main thread ends with
 * the process.
 */
const NOT_HERE: Obstacle = {
  reason: "this is a worker, and the threads of a machine end with the thread that makes it",
  cure: "make it on the main thread and attach to its handle here",
};

export const whyNotHere = (): Obstacle | undefined => (isMainThread ? whyNotHost() : NOT_HERE);
