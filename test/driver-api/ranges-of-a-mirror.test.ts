/** Small promises of the range API of Linux 5.2 that have no other home. */
import { describe, expect, it } from "vitest";
import { EINVAL, PAGE_SHIFT, type Pfn, pfn } from "../../src/base/index.ts";
import {
  EntryFormat,
  HMM_PFN_REQ_FAULT,
  HMM_RANGE_DEFAULT_TIMEOUT,
  Mirror,
  type MirrorRange,
} from "../../src/hmm/index.ts";
import { COLLISION_TIMEOUT_MS } from "../../src/notifier/index.ts";
import type { Sleeps } from "../../src/sync/index.ts";
import { HUGE, pageAt, rangeAt, type TestWorld, testWorld } from "../engine/test-world.ts";

function mirrorOf(world: TestWorld): Mirror {
  const ops = {
    *syncCpuDevicePagetables(): Sleeps<boolean> {
      return true;
    },
  };
  return world.run(Mirror.register(world.space, { ops })) as Mirror;
}

describe("a range", () => {
  it("waits a second unless told otherwise, and so does a collision-retry lock", () => {
    expect([HMM_RANGE_DEFAULT_TIMEOUT, COLLISION_TIMEOUT_MS]).toEqual([1000, 1000]);
  });

  it("knows the size of the device's pages, and has an entry for each", () => {
    const mirror = mirrorOf(testWorld());
    const small = mirror.range(rangeAt(0, HUGE)) as MirrorRange;
    const large = mirror.range({ ...rangeAt(0, HUGE), pageShift: 21 }) as MirrorRange;
    expect([small.pageShift, small.pfns.length]).toEqual([PAGE_SHIFT, HUGE]);
    expect([large.pageShift, large.pfns.length]).toEqual([21, 1]);
    expect(mirror.range({ start: pageAt(1), end: pageAt(0) })).toBe(-EINVAL);
    for (const range of [small, large]) range.unregister();
  });

  it("is registered without sleeping, also while an event is open", () => {
    const world = testWorld();
    const mirror = mirrorOf(world);
    world.map(0, 1);
    let made: MirrorRange | undefined;
    world.space.notifiers.register({
      *invalidateRangeStart() {
        if (made !== undefined) return 0;
        made = mirror.range(rangeAt(0, 1)) as MirrorRange;
        expect([made.valid, made.tryUntilValid()]).toEqual([false, false]);
        return 0;
      },
    });
    world.unmap(0, 1);
    expect([made?.valid, made?.tryUntilValid(), made?.valid]).toEqual([false, true, true]);
    made?.unregister();
  });

  it("tells at its end whether it was valid until then", () => {
    const world = testWorld();
    const mirror = mirrorOf(world);
    world.map(0, 4);
    const lives = [() => {}, () => world.unmap(3, 1), () => world.unmap(0, 1)].map((meanwhile) => {
      const range = mirror.range(rangeAt(0, 2)) as MirrorRange;
      world.run(range.waitUntilValid());
      meanwhile();
      return range.unregister();
    });
    expect(lives).toEqual([true, true, false]);
  });

  it("counts every page that it looked at, also holes at its end", () => {
    const world = testWorld();
    world.map(0, 4);
    const mirror = mirrorOf(world);
    const range = mirror.range(rangeAt(0, 4)) as MirrorRange;
    world.run(range.waitUntilValid());
    expect([world.run(range.snapshot()), [...range.pfns]]).toEqual([4, [0, 0, 0, 0]]);
    range.unregister();
  });

  it("finds Vmas anew at each attempt", () => {
    const world = testWorld();
    world.map(0, 1);
    const mirror = mirrorOf(world);
    const range = mirror.range({ ...rangeAt(0, 1), defaultFlags: HMM_PFN_REQ_FAULT });
    if (typeof range === "number") throw new Error(`range: ${range}`);
    const attempt = (): number => {
      world.run(range.waitUntilValid());
      return world.run(range.fault());
    };
    expect(attempt()).toBe(1);
    world.unmap(0, 1);
    expect(attempt()).toBeLessThan(0);
    world.map(0, 1);
    expect(attempt()).toBe(1);
    range.unregister();
  });
});

describe("an entry of a device", () => {
  const format = EntryFormat.of64({
    flags: { valid: 1n << 63n, write: 1n << 62n, devicePrivate: 1n << 61n },
    values: { none: 0n, error: 1n << 60n, special: 1n << 60n },
    pfnShift: 12,
  });

  it("names a frame only if it is valid", () => {
    const frame = pfn(0x456);
    const entry = format.entryOf(frame);
    const found: (Pfn | 0)[] = [entry, entry & ~(1n << 63n), 0n, 1n << 60n].map((each) =>
      format.frameOf(each),
    );
    expect(found).toEqual([frame, 0, 0, 0]);
  });
});
