import { describe, expect, it } from "vitest";
import { EEXIST, ENOMEM, PAGE_SIZE, virtAddr, vpn } from "../../../src/base/index.ts";
import { checkWorld } from "../../../src/check/index.ts";
import { type Bracket, Brackets, createWindow, ScopedCpu } from "../../../src/cpu/index.ts";
import { buildWorld } from "../../../src/machine/world.ts";
import {
  AddressSpace,
  MapMode,
  MMAP_MIN_ADDR,
  mmap,
  mmput,
  mremap,
  munmap,
  ptePfn,
} from "../../../src/mm/index.ts";
import { FIRST_ZONE_PFN, ZERO_PFN } from "../../../src/phys/index.ts";
import { bytesOf, RW, testWorld } from "../test-world.ts";

const window = createWindow();

function windowWorld(frames?: number) {
  const world = buildWorld({ window, ...(frames === undefined ? {} : { frames }) });
  const space = new AddressSpace(world.memory, { isIdentity: true });
  const brackets = new Brackets(space, new ScopedCpu(space));
  const run = <T>(body: Parameters<typeof world.scheduler.runTask<T>>[1]): T =>
    world.scheduler.runTask("test", body);
  const map = (start: number, pages: number, isLow: boolean) =>
    run(
      mmap(space, {
        start: virtAddr(start),
        bytes: bytesOf(pages),
        flags: RW,
        mode: MapMode.noReplace,
        isLow,
      }),
    );
  const open = (start: number, pages: number, write: boolean): Bracket => {
    const range = { start: virtAddr(start), end: virtAddr(start + bytesOf(pages)) };
    const pinned = run(brackets.open(range, write, { address: virtAddr(0) }));
    if (typeof pinned === "number") throw new Error(`refused: ${pinned}`);
    return pinned;
  };
  const end = () => {
    run(mmput(space));
    checkWorld(world.memory, { shadows: [], isOver: true });
  };
  return { world, space, brackets, run, map, open, end };
}

describe("below MMAP_MIN_ADDR", () => {
  it("is memory only for who says that it must be", () => {
    const { map, end } = windowWorld(64);
    expect([map(0, 2, false), map(MMAP_MIN_ADDR - PAGE_SIZE, 2, false)]).toEqual([
      -ENOMEM,
      -ENOMEM,
    ]);
    expect([map(0, 20, true), map(4096, 1, true)]).toEqual([0, -EEXIST]);
    end();
  });

  it("is never chosen for who asks for any place", () => {
    const world = testWorld();
    const options = { start: virtAddr(4096), bytes: bytesOf(1), flags: RW, isLow: true };
    expect(world.run(mmap(world.space, options))).toBeGreaterThanOrEqual(MMAP_MIN_ADDR);
    const mapped = world.run(mmap(world.space, { bytes: bytesOf(1), flags: RW })) as number;
    const move = { start: virtAddr(mapped), bytes: bytesOf(1), newBytes: bytesOf(1) };
    expect(world.run(mremap(world.space, { ...move, newStart: virtAddr(4096) }))).toBeLessThan(0);
  });
});

describe("a window's page 0", () => {
  it("has the bytes at address 0, and a frame that is neither nothing nor the zero page", () => {
    const { map, open, brackets, space, world, run, end } = windowWorld(64);
    map(0, 20, true);
    const pinned = open(0, 20, true);
    const frames = Array.from(pinned.frames);
    expect(frames).toEqual(Array.from({ length: 20 }, (_, page) => FIRST_ZONE_PFN + page));
    expect(Math.min(...frames)).toBeGreaterThan(ZERO_PFN);
    window.u32[1] = 77;
    window.u32[(19 * PAGE_SIZE) >>> 2] = 78;
    expect(world.memory.bytes.loadWord(pinned.frames[0]!, 1)).toBe(77);
    expect(world.memory.bytes.loadWord(pinned.frames[19]!, 0)).toBe(78);
    brackets.close(pinned);
    expect(ptePfn(space.pageTable.get(vpn(0)))).toBe(FIRST_ZONE_PFN);
    checkWorld(world.memory, { shadows: [] });
    // Freed frames are cleared where they lie.
    run(munmap(space, virtAddr(0), bytesOf(1)));
    expect([window.u32[1], window.u32[(19 * PAGE_SIZE) >>> 2]]).toEqual([0, 78]);
    end();
    expect(window.u32[(19 * PAGE_SIZE) >>> 2]).toBe(0);
  });

  it("leaves the last page its frame too", () => {
    const { map, open, brackets, end } = windowWorld();
    const last = 2 ** 32 - PAGE_SIZE;
    expect(map(last, 1, false)).toBe(last);
    const pinned = open(last, 1, true);
    window.u32[(last >>> 2) + 1023] = 5;
    brackets.close(pinned);
    end();
    expect(window.u32[(last >>> 2) + 1023]).toBe(0);
  });
});
