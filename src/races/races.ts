/**
 * The races that HMM is about, each with two or three tasks of the real engine over a few pages.
 * `bound` says how each is explored to its end.
 */

import { type Scenario, Stage, type StageOptions, type StrategyOptions } from "../explore/index.ts";
import { VmHint } from "../mm/index.ts";
import type { Sleeps } from "../sync/index.ts";

export interface Race extends Scenario {
  readonly bound: StrategyOptions;
}

type Tasks = Readonly<Record<string, (stage: Stage) => Sleeps<void>>>;

/** Every schedule; each history is looked at once, and so is each state that a checker can see. */
const ALL: StrategyOptions = { strategy: "dfs" };
/** Where all is too much: millions. */
const THREE_PREEMPTIONS: StrategyOptions = { strategy: "dfs", preemptionsMax: 3 };
const FOUR_PREEMPTIONS: StrategyOptions = { strategy: "dfs", preemptionsMax: 4 };

function scenario(
  name: string,
  about: string,
  options: StageOptions & { readonly bound?: StrategyOptions },
  tasks: Tasks,
): Race {
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

/** A device that cannot read RAM, and keeps copies of what goes home to be read. */
const KEEPS = { copies: true, hints: VmHint.readMostly };

/** The smallest first: what is broken shows soon. */
export const RACES: readonly Race[] = [
  scenario(
    "own-write",
    "A page moves to a device that is writing it.",
    { pages: 1 },
    {
      migration: (stage) => stage.toDevice(0),
      device: (stage) => stage.deviceWrite(0),
    },
  ),
  scenario(
    "copy-on-write",
    "A device and the CPU write a page that a child shares.",
    { pages: 1, hasChild: true },
    {
      device: (stage) => stage.deviceWrite(0),
      cpu: (stage) => stage.store(0),
    },
  ),
  scenario(
    "snapshot-reclaim",
    "A snapshot is taken while pages are swapped out.",
    { pages: 2 },
    {
      snapshot: (stage) => stage.snapshot(0, 2),
      reclaim: (stage) => stage.reclaim(2),
    },
  ),
  scenario(
    "reclaim-pinned",
    "Pages are swapped out while a disk writes one that it has pinned, and the CPU reads it.",
    { pages: 2 },
    {
      reclaim: (stage) => stage.reclaim(2),
      disk: (stage) => stage.pinAndWrite(0),
      cpu: (stage) => stage.load(0),
    },
  ),
  scenario(
    "two-exclusive",
    "Two devices take a page for themselves.",
    { pages: 1, devices: 2 },
    {
      "device 0": (stage) => stage.exclusive(0, 1, 0),
      "device 1": (stage) => stage.exclusive(0, 1, 1),
    },
  ),
  scenario(
    "exclusive-touch",
    "A device takes pages for itself while the CPU writes one and reads the other.",
    { pages: 2 },
    {
      device: (stage) => stage.exclusive(0, 2),
      writer: (stage) => stage.store(0),
      reader: (stage) => stage.load(1),
    },
  ),
  scenario(
    "reap",
    "A page is taken away without sleeping while a device writes it and its driver is busy.",
    { pages: 2 },
    {
      device: (stage) => stage.deviceWrite(0),
      driver: (stage) => stage.busy(),
      reaper: (stage) => stage.reap(0),
    },
  ),
  scenario(
    "touch-at-device",
    "Two CPU threads touch a page that lives on the device, which writes it.",
    { pages: 2, atDevice: 2 },
    {
      writer: (stage) => stage.store(0),
      reader: (stage) => stage.load(0),
      device: (stage) => stage.deviceWrite(0, 2),
    },
  ),
  scenario(
    "keep-copy",
    "The CPU reads a page that a device wrote and keeps a copy of, while both write it.",
    { pages: 1, atDevice: 1, ...KEEPS },
    {
      reader: (stage) => stage.load(0),
      writer: (stage) => stage.store(0),
      device: (stage) => stage.deviceWrite(0),
    },
  ),
  scenario(
    "keep-copy-unmapped",
    "The CPU reads pages of which the device keeps copies, while they are unmapped and read there.",
    { pages: 2, atDevice: 2, ...KEEPS },
    {
      reader: (stage) => stage.load(0),
      unmapper: (stage) => stage.remap(0, 2),
      device: (stage) => stage.deviceRead(0, 2),
    },
  ),
  scenario(
    "keep-copy-fork",
    "The CPU reads a page of which the device keeps a copy, while the process forks and writes.",
    { pages: 1, atDevice: 1, ...KEEPS },
    {
      reader: (stage) => stage.load(0),
      parent: (stage) => stage.forkAndWrite(0),
    },
  ),
  scenario(
    "evict",
    "The device's memory is emptied while it writes and the CPU reads.",
    { pages: 2, atDevice: 2 },
    {
      eviction: (stage) => stage.evictAll(),
      device: (stage) => stage.deviceWrite(0, 2),
      cpu: (stage) => stage.load(1),
    },
  ),
  scenario(
    "exclusive-fork",
    "A device takes a page for itself while the process forks.",
    { pages: 2 },
    {
      device: (stage) => stage.exclusive(0),
      parent: (stage) => stage.forkAndWrite(0),
    },
  ),
  scenario(
    "reclaim-migrate",
    "Pages are swapped out while they move to the device.",
    { pages: 2 },
    {
      device: (stage) => stage.toDevice(0, 2),
      reclaim: (stage) => stage.reclaim(2),
      cpu: (stage) => stage.load(0),
    },
  ),
  scenario(
    "fault-munmap",
    "A device reads two pages and the CPU writes one while they are unmapped and mapped afresh.",
    { pages: 2 },
    {
      device: (stage) => stage.deviceRead(0, 2),
      cpu: (stage) => stage.store(0),
      unmapper: (stage) => stage.remap(0, 2),
    },
  ),
  scenario(
    "peer-write",
    "A page moves to a device while another one writes it.",
    { pages: 1, devices: 2 },
    {
      migration: (stage) => stage.toDevice(0, 1, 0),
      peer: (stage) => stage.deviceWrite(0, 1, 1),
    },
  ),
  scenario(
    "fork-reads-device",
    "The process forks while a page lives on the device, which writes it; the child reads it.",
    { pages: 1, atDevice: 1 },
    {
      parent: (stage) => stage.forkAndRead(0),
      device: (stage) => stage.deviceWrite(0),
    },
  ),
  scenario(
    "fault-mprotect",
    "A device and the CPU write a page while it becomes read-only and writable again.",
    { pages: 2 },
    {
      device: (stage) => stage.deviceWrite(0),
      cpu: (stage) => stage.store(0),
      protector: (stage) => stage.protect(0),
    },
  ),
  scenario(
    "migrate-touch",
    "Two pages move to the device while the CPU writes one and reads the other.",
    { pages: 2 },
    {
      device: (stage) => stage.toDevice(0, 2),
      writer: (stage) => stage.store(0),
      reader: (stage) => stage.load(1),
    },
  ),
  scenario(
    "two-ways",
    "Pages move to the device while another task brings them home and the CPU writes one.",
    { pages: 2 },
    {
      device: (stage) => stage.toDevice(0, 2),
      home: (stage) => stage.toRam(0, 2),
      cpu: (stage) => stage.store(1),
    },
  ),
  scenario(
    "first-touch",
    "A page that was never touched moves to the device while the CPU touches it first.",
    { pages: 1, touched: 0 },
    {
      device: (stage) => stage.toDevice(0),
      writer: (stage) => stage.store(0),
      reader: (stage) => stage.load(0),
    },
  ),
  scenario(
    "exit-at-device",
    "The process ends while its pages live on the device, are read by it and come home.",
    { pages: 2, atDevice: 2 },
    {
      process: (stage) => stage.exit(),
      device: (stage) => stage.deviceRead(0, 2),
      eviction: (stage) => stage.evictAll(),
    },
  ),
  scenario(
    "reclaim",
    "Pages are swapped out while a device reads and the CPU writes them.",
    { pages: 2 },
    {
      device: (stage) => stage.deviceRead(0, 2),
      cpu: (stage) => stage.store(0),
      reclaim: (stage) => stage.reclaim(2),
    },
  ),
  scenario(
    "fork-at-device",
    "The process forks while its pages live on the device, which writes one; the child writes too.",
    { pages: 2, atDevice: 2 },
    {
      parent: (stage) => stage.forkAndWrite(0),
      device: (stage) => stage.deviceWrite(0),
    },
  ),
  scenario(
    "two-faults",
    "Two threads of a device fault the same pages while one of them is unmapped.",
    { pages: 2, touched: 1, bound: THREE_PREEMPTIONS },
    {
      "thread 0": (stage) => stage.deviceRead(0, 2),
      "thread 1": (stage) => stage.deviceWrite(0, 2),
      unmapper: (stage) => stage.remap(1),
    },
  ),
  scenario(
    "fault-fork",
    "A device and the CPU write a page while the process forks and the child writes its copy.",
    { pages: 2, bound: THREE_PREEMPTIONS },
    {
      device: (stage) => stage.deviceWrite(0),
      cpu: (stage) => stage.store(0),
      parent: (stage) => stage.forkAndWrite(0),
    },
  ),
  scenario(
    "fault-exit",
    "A device reads pages and takes some home while the process ends.",
    { pages: 2 },
    {
      device: (stage) => stage.deviceRead(0, 2),
      migration: (stage) => stage.toDevice(0, 2),
      process: (stage) => stage.exit(),
    },
  ),
  scenario(
    "snapshot",
    "A snapshot is taken of four pages that move, vanish and change their rights.",
    { pages: 4, touched: 3, bound: FOUR_PREEMPTIONS },
    {
      snapshot: (stage) => stage.snapshot(0, 4),
      device: (stage) => stage.toDevice(0),
      unmapper: (stage) => stage.remap(1),
    },
  ),
  scenario(
    "two-devices",
    "Two devices take the same page while the CPU reads it.",
    { pages: 2, devices: 2, bound: FOUR_PREEMPTIONS },
    {
      "device 0": (stage) => stage.toDevice(0, 1, 0),
      "device 1": (stage) => stage.toDevice(0, 1, 1),
      cpu: (stage) => stage.load(0),
    },
  ),
  scenario(
    "exclusive",
    "Two devices take a page for themselves while the CPU writes it.",
    { pages: 2, devices: 2 },
    {
      "device 0": (stage) => stage.exclusive(0, 1, 0),
      "device 1": (stage) => stage.exclusive(0, 1, 1),
      cpu: (stage) => stage.store(0),
    },
  ),
  scenario(
    "peer-reads",
    "A device writes pages that live on another while the CPU brings one home.",
    { pages: 2, devices: 2, atDevice: 2, bound: FOUR_PREEMPTIONS },
    {
      "device 1": (stage) => stage.deviceWrite(0, 2, 1),
      "device 0": (stage) => stage.deviceRead(0, 2, 0),
      cpu: (stage) => stage.store(1),
    },
  ),
];
