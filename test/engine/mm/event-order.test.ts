import { describe, expect, it } from "vitest";
import { type Result, vpn, vpnOf } from "../../../src/base/index.ts";
import { protectForCopies } from "../../../src/devmem/index.ts";
import { madviseDontNeed, mprotect, munmap, VM_READ } from "../../../src/mm/index.ts";
import type { Sleeps } from "../../../src/sync/index.ts";
import { BASE, bytesOf, pageAt, type TestWorld, testWorld } from "../test-world.ts";

function* protectCopies(world: TestWorld): Sleeps<Result> {
  using _mmap = yield* world.space.mmapLock.acquireRead();
  const first = vpnOf(BASE);
  return yield* protectForCopies(world.space, first, vpn(first + 2), {});
}

/** Page 0 is written, page 1 is the zero page. Each change, and the page that it changes. */
const CHANGES: Readonly<Record<string, readonly [number, (world: TestWorld) => Sleeps<unknown>]>> =
  {
    munmap: [0, (world) => munmap(world.space, pageAt(0), bytesOf(1))],
    mprotect: [0, (world) => mprotect(world.space, pageAt(0), bytesOf(1), VM_READ)],
    madvise: [0, (world) => madviseDontNeed(world.space, pageAt(0), bytesOf(1))],
    "copy on write": [1, (world) => world.cpu.store(pageAt(1), 1)],
    "migration of a page": [0, (world) => world.mirror.migrateToDevice(pageAt(0), 1, () => {})],
    "protection for copies": [0, protectCopies],
  };

describe("between the start and the end of its invalidation", () => {
  it.each(Object.entries(CHANGES))("%s changes the page table", (_name, [page, change]) => {
    const world = testWorld();
    world.map(0, 2);
    world.store(0, 1);
    world.load(1);
    const before = world.pte(page);
    const seen: boolean[] = [];
    world.space.notifiers.register({
      *invalidateRangeStart() {
        seen.push(world.pte(page) === before);
        return 0;
      },
      invalidateRangeEnd: () => seen.push(world.pte(page) === before),
    });
    world.run(change(world) as Sleeps<unknown>);
    expect(seen).toEqual([true, false]);
  });

  it("a device that joins a page to nothing inserts it", () => {
    const world = testWorld();
    world.map(0, 1);
    const seen: boolean[] = [];
    world.space.notifiers.register({
      invalidateRangeEnd: () => seen.push(world.pte(0) !== 0),
    });
    world.toDevice(0, 1);
    expect(seen).toEqual([false, true]);
  });
});
