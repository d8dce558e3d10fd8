/**
 * A test and its stage: a fresh world with one or two test devices and a process that has them
 * open. When the test is over everything is given back, and nothing may be left.
 */

import { checkWorld } from "../../check/index.ts";
import { DmirrorDevice } from "../../driver/dmirror/index.ts";
import { buildWorld, type World } from "../../machine/index.ts";
import { AddressSpace, CachedFile, fork } from "../../mm/index.ts";
import { type Strategy, type Task, TaskState } from "../../sync/index.ts";
import { fail } from "./expect.ts";
import { Process } from "./process.ts";

/** Most tests take a buffer of 4 MiB. */
export const PAGES = 1024;

/** Whether the CPU can touch the device's memory. */
export type DeviceKind = "private" | "coherent";

export interface StageOptions {
  /** Default 1. */
  readonly devices?: number;
  /** Frames of RAM. Default: more than any test of the kernel touches. */
  readonly frames?: number;
  /** Frames of each device. */
  readonly deviceFrames?: number;
  readonly hugetlbPages?: number;
  /** Default: first in, first out. */
  readonly strategy?: Strategy;
}

export class Stage {
  readonly kind: DeviceKind;
  readonly world: World;
  readonly devices: readonly DmirrorDevice[];
  /** The process of the test. */
  readonly main: Process;
  readonly #processes: Process[] = [];

  constructor(kind: DeviceKind, options: StageOptions = {}) {
    const { devices = 1, deviceFrames = 2048, frames = 16_384, strategy } = options;
    const isCoherent = kind === "coherent";
    this.kind = kind;
    this.world = buildWorld({
      frames,
      coherentFrames: isCoherent ? devices * deviceFrames : 0,
      hugetlbPages: options.hugetlbPages ?? 0,
      ...(strategy === undefined ? {} : { strategy }),
    });
    const { memory } = this.world;
    this.devices = Array.from({ length: devices }, (_, i) => {
      return new DmirrorDevice(memory, { name: `dmirror${i}`, frames: deviceFrames, isCoherent });
    });
    this.main = this.#add(new AddressSpace(memory));
  }

  get device(): DmirrorDevice {
    return this.devices[0]!;
  }

  /** A child of `parent`, which opens the devices for itself. */
  fork(parent: Process = this.main): Process {
    const space = parent.run(fork(parent.space));
    return typeof space === "number" ? fail(`fork: ${space}`) : this.#add(space);
  }

  exit(process: Process): void {
    this.#processes.splice(this.#processes.indexOf(process), 1);
    this.world.scheduler.runTask("exit", process.exit());
  }

  /** A file that lives in memory, of `bytes` bytes; `put` it when it is mapped. */
  file(bytes: number): CachedFile {
    return new CachedFile(this.world.memory, { name: "a test's file", bytes });
  }

  /** Runs everybody until nobody can go on; all of `tasks` must be done then. */
  runAll(...tasks: readonly Task[]): void {
    this.world.scheduler.run();
    for (const task of tasks) {
      if (task.state === TaskState.done) continue;
      fail(`"${task.name}" is ${task.state}: ${this.world.scheduler.describeWaits()}`);
    }
  }

  /** Throws when anything does not add up; `isQuiet` false: while tasks run. */
  check(isQuiet = true): void {
    checkWorld(this.world.memory, {
      shadows: this.#processes.flatMap((each) => [each.cpu, ...each.mirrors]),
      isQuiet,
    });
  }

  /** Closes what is open, ends all processes, children first; nothing may be left. */
  finish(): void {
    const { scheduler, memory } = this.world;
    scheduler.afterStep = undefined;
    this.check();
    for (const process of [...this.#processes].reverse()) {
      scheduler.runTask("close", process.close());
      this.exit(process);
    }
    checkWorld(memory, { shadows: [], isOver: true });
    if (scheduler.liveTasks.size > 0) fail(`tasks are left: ${scheduler.describeWaits()}`);
  }

  #add(space: AddressSpace): Process {
    const process = new Process(space, this.devices);
    this.#processes.push(process);
    return process;
  }
}

/** What a test is. */
export interface HmmTest {
  /** As the kernel names its test, "fixture.test"; ours are "onespace.A-…". */
  readonly name: string;
  /** What it demands, in a few words. */
  readonly checks: string;
  /** Kinds of devices that it says nothing about, and why. */
  readonly skips?: Partial<Readonly<Record<DeviceKind, string>>>;
  /** Throws when it fails. Every stage that it opens is finished and checked afterwards. */
  run(open: (options?: StageOptions) => Stage): void;
}
