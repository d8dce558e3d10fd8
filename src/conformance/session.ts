/**
 * The stage of a trace: a fresh world with two test devices, process P, and at most one child C.
 * Operations run strictly one after the other; after each, every invariant is checked.
 */

import { checkWorld } from "../check/index.ts";
import { DmirrorDevice } from "../driver/index.ts";
import { buildWorld, type World } from "../machine/index.ts";
import { Actor, type Answer } from "./actor.ts";

export interface SessionOptions {
  /** Frames of RAM. Default: more than any trace touches. */
  readonly frames?: number;
  /** Huge pages set aside. Default 64. */
  readonly hugetlbPages?: number;
  /** Frames of each device. */
  readonly deviceFrames?: number;
}

type Args = readonly (string | number)[];

export class Session {
  readonly world: World;
  readonly devices: readonly DmirrorDevice[];
  // "P" or "C" -> its process
  readonly #actors = new Map<string, Actor>();

  constructor(options: SessionOptions = {}) {
    this.world = buildWorld({
      frames: options.frames ?? 131_072,
      hugetlbPages: options.hugetlbPages ?? 64,
    });
    const frames = options.deviceFrames ?? 16_384;
    this.devices = ["dmirror0", "dmirror1"].map(
      (name) => new DmirrorDevice(this.world.memory, { name, frames }),
    );
    this.#actors.set("P", Actor.open(this.world.memory, this.devices));
  }

  /** The actors that live now. */
  get actors(): Iterable<Actor> {
    return this.#actors.values();
  }

  /** Runs one operation of `name`; undefined when there is no such operation or actor. */
  run(name: string, op: string, args: Args): Answer | undefined {
    const actor = this.#actors.get(name);
    if (actor === undefined) return undefined;
    const { scheduler } = this.world;
    if (op === "fork") {
      if (this.#actors.has("C")) return undefined;
      this.#actors.set("C", scheduler.runTask(`${name} fork`, actor.fork()));
      return { r: "OK" };
    }
    if (op === "exit") {
      scheduler.runTask(`${name} exit`, actor.exit());
      this.#actors.delete(name);
      return { r: "OK" };
    }
    return scheduler.runTask(`${name} ${op}`, actor.run(op, args));
  }

  /** Throws when anything does not add up. */
  check(): void {
    const actors = [...this.actors];
    checkWorld(this.world.memory, {
      shadows: actors.flatMap((each) => [each.cpu, ...each.mirrors]),
    });
  }

  /** Everybody exits; nothing may be left. */
  close(): void {
    for (const name of [...this.#actors.keys()].reverse()) this.run(name, "exit", []);
    checkWorld(this.world.memory, { shadows: [], isOver: true });
  }
}
