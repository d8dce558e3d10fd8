/**
 * The races that HMM is about, each with two or three tasks of the real engine over a few pages.
 * `bound` says how each is explored to its end.
 */
import type { Sleeps } from "../../sync/index.ts";
import type { StrategyOptions } from "../explorer.ts";
import type { Scenario } from "../scenario.ts";
import { Stage, type StageOptions } from "./stage.ts";

export interface EngineScenario extends Scenario {
  readonly bound: StrategyOptions;
}

type Tasks = Readonly<Record<string, (stage: Stage) => Sleeps<void>>>;

const ALL: StrategyOptions = { strategy: "dpor" };

function scenario(
  name: string,
  about: string,
  options: StageOptions & { readonly bound?: StrategyOptions },
  tasks: Tasks,
): EngineScenario {
  const { bound = ALL, ...world } = options;
  return {
    name,
    about,
    bound,
    setUp(strategy) {
      const stage = new Stage(strategy, world);
      for (const [task, body] of Object.entries(tasks)) stage.task(task, body(stage));
      return stage;
    },
  };
}

export const ENGINE_SCENARIOS: readonly EngineScenario[] = [
  scenario(
    "fault-munmap",
    "A device reads two pages while they are unmapped and mapped afresh.",
    { pages: 2 },
    {
      device: (stage) => stage.deviceRead(0, 2),
      unmapper: (stage) => stage.remap(0, 2),
    },
  ),
  scenario(
    "fault-mprotect",
    "A device writes a page while it becomes read-only and writable again.",
    { pages: 2 },
    {
      device: (stage) => stage.deviceWrite(0),
      protector: (stage) => stage.protect(0),
    },
  ),
  scenario(
    "fault-fork",
    "A device writes a page while the process forks and the child writes its copy.",
    { pages: 2 },
    {
      device: (stage) => stage.deviceWrite(0),
      parent: (stage) => stage.forkAndWrite(0),
    },
  ),
  scenario(
    "fault-exit",
    "A device reads a page while the process ends.",
    { pages: 2 },
    {
      device: (stage) => stage.deviceRead(0, 2),
      process: (stage) => stage.exit(),
    },
  ),
  scenario(
    "migrate-touch",
    "A page moves to the device while the CPU writes it.",
    { pages: 2 },
    {
      device: (stage) => stage.toDevice(0),
      cpu: (stage) => stage.store(0),
    },
  ),
  scenario(
    "two-ways",
    "A page moves to the device while another task brings it home.",
    { pages: 2 },
    {
      device: (stage) => stage.toDevice(0, 2),
      home: (stage) => stage.toRam(0, 2),
    },
  ),
  scenario(
    "two-devices",
    "Two devices take the same page.",
    { pages: 2, devices: 2 },
    {
      "device 0": (stage) => stage.toDevice(0, 1, 0),
      "device 1": (stage) => stage.toDevice(0, 1, 1),
    },
  ),
  scenario(
    "exclusive-touch",
    "A device takes a page for itself while the CPU writes it.",
    { pages: 2 },
    {
      device: (stage) => stage.exclusive(0),
      cpu: (stage) => stage.store(0),
    },
  ),
  scenario(
    "unsleeping",
    "An event that may not sleep meets a device that holds its lock.",
    { pages: 2 },
    {
      device: (stage) => stage.deviceRead(0, 2),
      reaper: (stage) => stage.unsleeping(0),
    },
  ),
  scenario(
    "reclaim",
    "Pages are swapped out while a device reads and the CPU writes them.",
    { pages: 2 },
    {
      device: (stage) => stage.deviceRead(0, 2),
      reclaim: (stage) => stage.reclaim(2),
    },
  ),
];
