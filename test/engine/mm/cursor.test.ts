import { describe, expect, it } from "vitest";
import { type Vpn, vpn, vpnOf } from "../../../src/base/index.ts";
import { type CpuMmu, makePte, PTE_VALID, PTE_WRITE } from "../../../src/mm/index.ts";
import { ZERO_PFN } from "../../../src/phys/index.ts";
import { BASE, testWorld } from "../test-world.ts";

const FIRST = vpnOf(BASE);

/** A world with two frames of RAM mapped at pages 0 and 1, and who was told to forget what. */
function build() {
  const world = testWorld();
  world.map(0, 8);
  for (const page of [0, 1]) world.store(page, page + 1);
  const revoked: [number, number, number][] = [];
  const frame = world.pte(0) >>> 8;
  const mmu: CpuMmu = {
    revoke: (start: Vpn, end: Vpn) =>
      revoked.push([start - FIRST, end - FIRST, world.memory.pages.refs[frame]!]),
  };
  world.space.mmus.push(mmu);
  return { world, cursor: world.space.cursor, revoked, frame };
}

describe("the cursor", () => {
  it("tells the CPUs once what shrank, and only then lets frames go", () => {
    const { world, cursor, revoked, frame } = build();
    cursor.begin().clearRange(FIRST, vpn(FIRST + 8));
    expect([world.memory.pages.refs[frame], revoked]).toEqual([1, []]);
    cursor.flush();
    expect([world.memory.pages.refs[frame], revoked]).toEqual([0, [[0, 2, 1]]]);
  });

  it("tells them of rights that shrink, not of rights that grow", () => {
    const { world, cursor, revoked, frame } = build();
    cursor.begin().set(FIRST, makePte(frame as never, PTE_VALID));
    cursor.flush();
    expect(revoked).toEqual([[0, 1, 1]]);
    cursor.begin().set(FIRST, makePte(frame as never, PTE_VALID | PTE_WRITE));
    cursor.flush();
    expect([revoked.length, world.load(0)]).toEqual([1, 1]);
  });

  it("counts what is mapped, without the zero page", () => {
    const { world, cursor } = build();
    expect(world.space.rssPages).toBe(2);
    cursor.begin().map(vpn(FIRST + 2), makePte(ZERO_PFN, PTE_VALID));
    cursor.flush();
    expect(world.space.rssPages).toBe(2);
    cursor.begin().unmap(FIRST);
    cursor.flush();
    expect(world.space.rssPages).toBe(1);
  });

  it("writes only between begin and flush, and where the caller says that nothing is", () => {
    const { world, cursor } = build();
    const pte = makePte(ZERO_PFN, PTE_VALID);
    expect(() => cursor.set(FIRST, pte)).toThrow(/outside begin and flush/);
    expect(() => cursor.flush()).toThrow(/flush without begin/);
    cursor.begin();
    expect(() => cursor.begin()).toThrow(/the cursor is in use/);
    expect(() => cursor.map(FIRST, pte)).toThrow(/mapped already/);
    expect(() => cursor.unmap(vpn(FIRST + 5))).toThrow(/not mapped/);
    cursor.flush();
    expect(world.load(0)).toBe(1);
  });
});
