/**
 * A thread that explores first, or does not, and then takes rounds of the engine's work on pages:
 * a message is a round, and its answer the nanoseconds that it took.
 */
import { parentPort, workerData } from "node:worker_threads";
import { runJobs } from "../src/cli/explore/workers/index.ts";
import { explore } from "../src/explore/index.ts";
import { HMM_PFN_REQ_FAULT, HMM_PFN_REQ_WRITE } from "../src/hmm/index.ts";
import { AddressSpace, fork, mmput } from "../src/mm/index.ts";
import { RACES } from "../src/races/index.ts";
import { faultIn } from "./mm-pages.ts";
import { BenchWorld, expect, nowNs } from "./mm-world.ts";

export type Explored = "nobody" | "in threads" | "on this thread";

export const PAGES = 4096;
const WARM_UPS = 60;
const SCENARIOS = RACES.slice(0, 8);
const SCHEDULES = 100;
const DPOR = { strategy: "dpor" } as const;

async function exploreAs(explored: Explored): Promise<void> {
  if (explored === "on this thread") {
    for (const scenario of SCENARIOS) explore(scenario, DPOR, { schedulesMax: SCHEDULES });
  }
  if (explored !== "in threads") return;
  const jobs = SCENARIOS.map(({ name }) => {
    const limits = { options: DPOR, schedulesMax: SCHEDULES };
    return { kind: "explore", source: { from: "engine" }, scenario: name, ...limits } as const;
  });
  const answers = await runJobs(jobs, { workers: 1 });
  expect(answers.includes(undefined), false, "whether a scenario was not explored");
}

function round(): number {
  const world = new BenchWorld(PAGES);
  const range = world.range(HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE);
  const begin = nowNs();
  world.run(faultIn(world, range));
  const child = world.run(fork(world.space));
  if (!(child instanceof AddressSpace)) throw new Error(`explore bench: fork failed: ${child}`);
  world.run(mmput(child));
  world.unmap();
  const ns = nowNs() - begin;
  expect(world.space.rssPages, 0, "the number of pages after munmap");
  return ns;
}

if (parentPort !== null) {
  const port = parentPort;
  for (let i = 0; i < WARM_UPS; i++) round();
  await exploreAs(workerData as Explored);
  for (let i = 0; i < WARM_UPS; i++) round();
  port.on("message", () => port.postMessage(round()));
  port.postMessage(0);
}
