import { describe, expect, it } from "vitest";
import { EBUSY, type Result, vpn, vpnOf } from "../../../src/base/index.ts";
import { protectForCopies } from "../../../src/devmem/index.ts";
import { isWritable, PTE_WRITE, ptePfn, VM_READ } from "../../../src/mm/index.ts";
import { PG_DUPLICATED } from "../../../src/phys/index.ts";
import type { Sleeps } from "../../../src/sync/index.ts";
import { BASE, type TestWorld, testWorld } from "../test-world.ts";

const FIRST = vpnOf(BASE);

function protect(world: TestWorld, page: number, count: number): Result {
  function* body(): Sleeps<Result> {
    using _mmap = yield* world.space.mmapLock.acquireRead();
    const start = vpn(FIRST + page);
    return yield* protectForCopies(world.space, start, vpn(start + count), {});
  }
  return world.run(body());
}

const hasCopies = (world: TestWorld, page: number): boolean =>
  world.memory.pages.is(ptePfn(world.pte(page)), PG_DUPLICATED);

/** Pages 0 and 1 written, page 2 read. */
function build(): TestWorld {
  const world = testWorld();
  world.map(0, 4);
  for (const page of [0, 1]) world.store(page, page + 1);
  world.load(2);
  return world;
}

describe("protectForCopies", () => {
  it("takes write rights away inside an invalidation, from CPUs and devices", () => {
    const world = build();
    expect(world.deviceStore(0, 5)).toBe(0);
    const log = world.watch();
    expect(protect(world, 0, 4)).toBe(0);
    world.check();
    expect(log).toEqual(["start 3 0..4", "end 3 0..4"]);
    expect([0, 1].map((page) => [isWritable(world.pte(page)), hasCopies(world, page)])).toEqual([
      [false, true],
      [false, true],
    ]);
    expect([hasCopies(world, 2), world.deviceEntry(0) & PTE_WRITE]).toEqual([false, 0]);
    expect(world.cpu.tlb.size).toBe(1);
  });

  it("needs no invalidation where nobody may write", () => {
    const world = build();
    protect(world, 0, 2);
    const log = world.watch();
    expect([protect(world, 0, 4), log]).toEqual([0, []]);
    expect(world.count("devmem:duplicate")).toBe(2);
  });

  it("ends with the next write, which tells the devices", () => {
    const world = build();
    protect(world, 0, 2);
    const log = world.watch();
    expect([world.load(0), hasCopies(world, 0), log]).toEqual([1, true, []]);
    expect([world.store(0, 7), hasCopies(world, 0), isWritable(world.pte(0))]).toEqual([
      0,
      false,
      true,
    ]);
    expect([log, hasCopies(world, 1)]).toEqual([["start 1 0..1", "end 1 0..1"], true]);
  });

  it("ends with a migration, after which the page may be written as before", () => {
    const world = build();
    protect(world, 0, 1);
    expect([world.toDevice(0, 1), hasCopies(world, 0)]).toEqual([0, false]);
    expect([world.deviceStore(0, 9), world.load(0)]).toEqual([0, 9]);
    expect(world.count("devmem:to-ram")).toBe(1);
  });

  it("is busy, and changes nothing, while somebody holds a page for writing", () => {
    const world = build();
    const frame = ptePfn(world.pte(1));
    const { pages } = world.memory;
    pages.pin(frame, true);
    const log = world.watch();
    expect([protect(world, 0, 2), log, hasCopies(world, 0)]).toEqual([-EBUSY, [], false]);
    pages.unpin(frame, true);
    pages.pin(frame, false);
    expect([protect(world, 0, 2), hasCopies(world, 1)]).toEqual([0, true]);
    pages.unpin(frame, false);
  });

  it("looks again after the callbacks: a writer may have come", () => {
    const world = build();
    const frame = ptePfn(world.pte(0));
    const { pages } = world.memory;
    let isPinned = false;
    world.space.notifiers.register({
      *invalidateRangeStart() {
        if (!isPinned) pages.pin(frame, true);
        isPinned = true;
        return 0;
      },
    });
    expect([protect(world, 0, 1), isWritable(world.pte(0))]).toEqual([-EBUSY, true]);
    expect(hasCopies(world, 0)).toBe(false);
    pages.unpin(frame, true);
  });

  it("marks pages that the program may only read as well", () => {
    const world = testWorld();
    world.map(0, 1);
    world.store(0, 1);
    world.vma(0).flags = VM_READ;
    const cursor = world.space.cursor.begin();
    cursor.set(FIRST, ((world.pte(0) & ~PTE_WRITE) >>> 0) as never);
    cursor.flush();
    const log = world.watch();
    expect([protect(world, 0, 1), hasCopies(world, 0), log]).toEqual([0, true, []]);
  });
});
