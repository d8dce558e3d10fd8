/**
 * # cli/explore/workers: exploring with all cores
 *
 * **Nouns.** *Job*: an exhibit to visit or a scenario to explore, as a plain record. *Answer*: what
 * came of it. *Pool*: worker threads that do jobs.
 *
 * **Invariants.** A job gives the same answer on any thread; only time limits may cut it short.
 *
 * **Locks.** None.
 *
 * **Example.** `await runJobs([{ kind: "visit", id: "B-01" }], { workers: 2 })`
 *
 * **What it refuses.** Scenarios that are not found by name: functions do not cross threads.
 */
export {
  findScenario,
  type Job,
  type Source,
  scenariosOf,
} from "./job.ts";
export { runJobs } from "./pool.ts";
