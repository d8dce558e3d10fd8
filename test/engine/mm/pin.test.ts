import { describe, expect, it } from "vitest";
import { EFAULT, type Result, virtAddr, vpnOf } from "../../../src/base/index.ts";
import {
  isPinned,
  type PinnedPages,
  pinPages,
  ptePfn,
  unpinPages,
  VM_READ,
} from "../../../src/mm/index.ts";
import { PG_ANON, ZERO_PFN } from "../../../src/phys/index.ts";
import { pageAt, rangeAt, type TestWorld, testWorld } from "../test-world.ts";

function pin(world: TestWorld, page: number, count: number, write: boolean) {
  const failure = { address: virtAddr(0) };
  const result = world.run(pinPages(world.space, rangeAt(page, count), { write, failure }));
  return { result, failure };
}

const pinned = (result: PinnedPages | Result): PinnedPages => {
  expect(typeof result).toBe("object");
  return result as PinnedPages;
};

describe("a pin", () => {
  it("faults pages in, keeps them, and is counted", () => {
    const world = testWorld();
    world.map(0, 2);
    world.store(0, 5);
    const held = pinned(pin(world, 0, 2, true).result);
    expect(held.frames).toEqual([ptePfn(world.pte(0)), ptePfn(world.pte(1))]);
    expect([...held.frames].map((frame) => world.memory.pages.writePins[frame])).toEqual([1, 1]);
    expect(isPinned(world.space, vpnOf(pageAt(0)))).toBe(true);
    world.check();
    unpinPages(held);
    expect(isPinned(world.space, vpnOf(pageAt(0)))).toBe(false);
  });

  it("brings device pages home first, and keeps them from leaving", () => {
    const world = testWorld();
    world.map(0, 1);
    world.store(0, 5);
    world.toDevice(0, 1);
    const held = pinned(pin(world, 0, 1, false).result);
    expect(world.memory.pages.isDevice(held.frames[0]!)).toBe(false);
    world.toDevice(0, 1);
    expect(ptePfn(world.pte(0))).toBe(held.frames[0]);
    unpinPages(held);
    world.toDevice(0, 1);
    expect(world.memory.pages.isDevice(ptePfn(world.pte(0)))).toBe(true);
  });

  it("for reading does not stay on the zero page where the program may write", () => {
    const world = testWorld();
    world.map(0, 1);
    world.map(1, 1, VM_READ);
    world.load(0);
    const held = pinned(pin(world, 0, 2, false).result);
    expect([held.frames[0] === ZERO_PFN, held.frames[1] === ZERO_PFN]).toEqual([false, true]);
    world.check();
    world.store(0, 7);
    expect(ptePfn(world.pte(0))).toBe(held.frames[0]);
    unpinPages(held);
  });

  it("is for all pages or none, and names the one that failed", () => {
    const world = testWorld();
    world.map(0, 2);
    world.map(2, 1, VM_READ);
    expect(pin(world, 0, 3, true)).toEqual({ result: -EFAULT, failure: { address: pageAt(2) } });
    expect(pin(world, 0, 4, false)).toEqual({ result: -EFAULT, failure: { address: pageAt(3) } });
    world.check();
    expect(isPinned(world.space, vpnOf(pageAt(0)))).toBe(false);
  });

  it("keeps the frame when the page is unmapped", () => {
    const world = testWorld();
    world.map(0, 1);
    world.store(0, 5);
    const held = pinned(pin(world, 0, 1, true).result);
    const frame = held.frames[0]!;
    const cursor = world.space.cursor.begin();
    cursor.unmap(vpnOf(pageAt(0)));
    cursor.flush();
    expect([world.memory.pages.refs[frame], world.memory.bytes.loadWord(frame, 0)]).toEqual([1, 5]);
    expect(world.memory.pages.is(frame, PG_ANON)).toBe(true);
    unpinPages(held);
    expect(world.memory.pages.refs[frame]).toBe(0);
  });
});
