/**
 * The worked examples of Documentation/vm/hmm.rst of 2019: default flags and mask, populating a
 * device table by snapshot, and by fault, each with the wait and the retry around it.
 */
import { describe, expect, it } from "vitest";
import { EBUSY, type Result, vpn, vpnOf } from "../../../src/base/index.ts";
import { tableShadow } from "../../../src/check/index.ts";
import {
  EntryFormat,
  Mirror,
  type MirrorOps,
  type MirrorRange,
  type RangeOptions,
} from "../../../src/hmm/index.ts";
import { asPte, PageTable, PTE_NONE } from "../../../src/mm/index.ts";
import type { Invalidation } from "../../../src/notifier/index.ts";
import { Mutex, type Sleeps, YIELD } from "../../../src/sync/index.ts";
import { rangeAt, type TestWorld, testWorld } from "../test-world.ts";

/** The bits that the document gives its imaginary device. */
const VALID = 1n << 63n;
const WRITE = 1n << 62n;
const format = EntryFormat.of64({
  flags: { valid: VALID, write: WRITE },
  values: { none: 0n, error: 1n << 60n, special: 1n << 61n },
  pfnShift: 0,
});

/** A device with a table and driver->update, the lock of its callback. */
class Device implements MirrorOps {
  readonly table = new PageTable();
  readonly update: Mutex;
  readonly space: TestWorld["space"];
  readonly world: TestWorld;
  mirror!: Mirror;
  /** What happens while the driver works on its answer, once. */
  meanwhile: (() => Sleeps<unknown>) | undefined;
  tries = 0;

  constructor(world: TestWorld) {
    this.world = world;
    this.space = world.space;
    this.update = new Mutex(world.scheduler, "driver", "driver->update");
    this.mirror = world.run(Mirror.register(world.space, { ops: this })) as Mirror;
    world.shadows.push(tableShadow("driver", this));
  }

  *syncCpuDevicePagetables({ start, end, blockable }: Invalidation): Sleeps<boolean> {
    const held = blockable ? yield* this.update.acquire() : this.update.tryAcquire();
    if (held === undefined) return false;
    using _held = held;
    for (let at = vpnOf(start); at < vpnOf(end); at = vpn(at + 1)) {
      if (this.table.get(at) !== PTE_NONE) this.table.set(at, PTE_NONE);
    }
    return true;
  }

  /** The document's driver_populate_range(), with a snapshot or with faults. */
  *populate(options: RangeOptions, look: (range: MirrorRange) => Sleeps<Result>): Sleeps<Result> {
    const range = this.mirror.range(options);
    if (typeof range === "number") return range;
    using _registered = range;
    for (;;) {
      this.tries++;
      if (!(yield* range.waitUntilValid())) continue;
      const result = yield* look(range);
      if (result === -EBUSY) continue;
      if (result < 0) return result;
      yield* this.#disturb();
      using _update = yield* this.update.acquire();
      if (!range.valid) continue;
      const first = vpnOf(range.start);
      for (const [i, word] of range.pfns.entries()) this.table.set(vpn(first + i), asPte(word));
      return result;
    }
  }

  *#disturb(): Sleeps<void> {
    const act = this.meanwhile;
    this.meanwhile = undefined;
    if (act === undefined) return;
    this.world.scheduler.spawn("meanwhile", act());
    for (let i = 0; i < 20; i++) yield YIELD;
  }

  knows(page: number): boolean {
    return this.table.get(vpn(vpnOf(rangeAt(0, 1).start) + page)) !== PTE_NONE;
  }
}

function build() {
  const world = testWorld();
  world.map(0, 4);
  return { world, device: new Device(world) };
}

/** Faults pages 0 to 3 in as the flags say; which are valid and which writable, page by page. */
/** Faults pages 0 to 3 in as the flags say; which are valid and which writable, page by page. */
function faultWith(
  world: TestWorld,
  device: Device,
  options: Partial<RangeOptions<BigUint64Array>>,
) {
  const { requests = [], ...flags } = options as typeof options & { requests?: [number, bigint][] };
  const range = device.mirror.range({ ...rangeAt(0, 4), format, ...flags });
  if (typeof range === "number") throw new Error(`range: ${range}`);
  for (const [index, bits] of requests) range.requests[index] = bits;
  const loop = function* (): Sleeps<Result> {
    for (;;) {
      if (!(yield* range.waitUntilValid())) continue;
      const result = yield* range.fault();
      if (result !== -EBUSY) return result;
    }
  };
  const result = world.run(loop());
  const entries = [...range.entries];
  range.unregister();
  return {
    result,
    valid: entries.map((entry) => (entry & VALID) !== 0n),
    write: entries.map((entry) => (entry & WRITE) !== 0n),
  };
}

const ALL = [true, true, true, true];
const NONE = [false, false, false, false];

describe("default_flags and pfn_flags_mask", () => {
  it("example 1: every page of the range readable", () => {
    const { world, device } = build();
    const got = faultWith(world, device, { defaultFlags: VALID, pfnFlagsMask: 0n });
    expect(got).toEqual({ result: 4, valid: ALL, write: NONE });
  });

  it("example 2: every page readable, and one writable", () => {
    const { world, device } = build();
    const flags = { defaultFlags: VALID, pfnFlagsMask: WRITE, requests: [[2, WRITE] as const] };
    const got = faultWith(world, device, flags);
    expect(got).toEqual({ result: 4, valid: ALL, write: [false, false, true, false] });
  });

  it("reports what may be written, whatever was requested", () => {
    const { world, device } = build();
    world.store(1, 7);
    const got = faultWith(world, device, { defaultFlags: VALID, pfnFlagsMask: 0n });
    expect(got.write).toEqual([false, true, false, false]);
  });

  it("ignores requests that the mask does not let count", () => {
    const { world, device } = build();
    const flags = { defaultFlags: 0n, pfnFlagsMask: 0n, requests: [[0, VALID | WRITE] as const] };
    const got = faultWith(world, device, flags);
    expect(got).toEqual({ result: 4, valid: NONE, write: NONE });
  });
});

describe("driver_populate_range()", () => {
  it("takes a snapshot and programs what is there", () => {
    const { world, device } = build();
    world.store(0, 1);
    world.store(2, 3);
    const result = world.run(device.populate(rangeAt(0, 4), (range) => range.snapshot()));
    expect(result).toBe(4);
    expect([0, 1, 2, 3].map((page) => device.knows(page))).toEqual([true, false, true, false]);
    expect([world.count("mm:fault"), device.tries]).toEqual([2, 1]);
  });

  it("starts over when the range changed before the lock was taken", () => {
    const { world, device } = build();
    for (let page = 0; page < 4; page++) world.store(page, page);
    device.meanwhile = () => world.mirror.migrateToDevice(rangeAt(1, 1).start, 1, () => {});
    const result = world.run(device.populate(rangeAt(0, 4), (range) => range.snapshot()));
    expect([result, device.tries]).toEqual([4, 2]);
    // What is on another device is not for this one to know.
    expect([0, 1, 2, 3].map((page) => device.knows(page))).toEqual([true, false, true, true]);
  });

  it("faults what is missing, and starts over when a fault raced", () => {
    const { world, device } = build();
    world.store(1, 7);
    device.meanwhile = () => world.mirror.migrateToDevice(rangeAt(1, 1).start, 1, () => {});
    // The page has to come home again, and its coming home is one more event on the range.
    const fault = (range: MirrorRange): Sleeps<Result> => range.fault({ write: true });
    const result = world.run(device.populate(rangeAt(0, 4), fault));
    expect(result).toBe(4);
    expect([0, 1, 2, 3].map((page) => device.knows(page))).toEqual(ALL);
    expect(device.tries).toBeGreaterThan(1);
    expect(world.load(1)).toBe(7);
  });

  it("forgets what is unmapped later", () => {
    const { world, device } = build();
    world.store(0, 1);
    world.run(device.populate(rangeAt(0, 1), (range) => range.snapshot()));
    expect(device.knows(0)).toBe(true);
    world.unmap(0, 1);
    expect(device.knows(0)).toBe(false);
  });
});
