import { describe, expect, it } from "vitest";
import { EIO, ENOSPC, PAGE_SIZE } from "../base/index.ts";
import { MemorySwapStore, SwapArea } from "./swap-area.ts";

const page = (fill: number): Uint8Array => new Uint8Array(PAGE_SIZE).fill(fill);

describe("a swap area", () => {
  it("stores pages and gives them back as often as asked", () => {
    const area = new SwapArea(2);
    const [a, b] = [area.store(page(1)), area.store(page(2))];
    const out = page(0);
    expect([area.load(b, out), out[0], area.load(a, out), out[0], area.load(a, out)]).toEqual([
      0, 2, 0, 1, 0,
    ]);
    expect([area.slotCount, area.usedCount]).toEqual([2, 2]);
  });

  it("keeps its own copy", () => {
    const area = new SwapArea(1);
    const bytes = page(1);
    const slot = area.store(bytes);
    bytes.fill(9);
    area.load(slot, bytes);
    expect(bytes[PAGE_SIZE - 1]).toBe(1);
  });

  it("is full when it is full, and has room again when a slot's last use is gone", () => {
    const area = new SwapArea(1);
    const slot = area.store(page(1));
    area.get(slot);
    expect([area.store(page(2)), area.usesOf(slot)]).toEqual([-ENOSPC, 2]);
    area.put(slot);
    expect(area.store(page(2))).toBe(-ENOSPC);
    area.put(slot);
    expect([area.usedCount, area.store(page(2)), area.usesOf(slot)]).toEqual([0, slot, 1]);
  });

  it("hands slots out in a round, so that a freed one is not the next", () => {
    const area = new SwapArea(3);
    expect([area.store(page(1)), area.store(page(2))]).toEqual([0, 1]);
    area.put(0);
    expect([area.store(page(3)), area.store(page(4)), area.store(page(5))]).toEqual([
      2,
      0,
      -ENOSPC,
    ]);
  });

  it("of no slots takes nothing", () => {
    expect(new SwapArea(0).store(page(1))).toBe(-ENOSPC);
  });

  it("passes on what its store says, and uses no slot for what was not stored", () => {
    let error = -EIO;
    const memory = new MemorySwapStore();
    const area = new SwapArea(2, {
      write: (slot, bytes) => (error < 0 ? error : memory.write(slot, bytes)),
      read: (slot, bytes) => (error < 0 ? error : memory.read(slot, bytes)),
    });
    expect([area.store(page(1)), area.usedCount]).toEqual([-EIO, 0]);
    error = 0;
    const slot = area.store(page(1));
    error = -EIO;
    expect([area.load(slot, page(0)), area.usesOf(slot)]).toEqual([-EIO, 1]);
  });

  it("catches slots that are used after they are free", () => {
    const area = new SwapArea(1);
    expect(() => area.load(0, page(0))).toThrow(/slot 0 is free/);
    expect(() => area.get(0)).toThrow(/slot 0 is free/);
    expect(() => area.put(0)).toThrow(/once too often/);
    expect(() => new SwapArea(-1)).toThrow(/-1 slots/);
    expect(() => new SwapArea(2 ** 22)).toThrow(/slots/);
    expect(() => new MemorySwapStore().read(0, page(0))).toThrow(/slot 0 is empty/);
  });
});
