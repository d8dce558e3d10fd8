import { describe, expect, it } from "vitest";
import { ENOMEM, PAGE_SIZE, type Pfn } from "../../base/index.ts";
import { FIRST_ZONE_PFN, LARGE_FRAMES, Pages, PG_HUGETLB, Zone } from "../../phys/index.ts";
import { Scheduler } from "../../sync/index.ts";
import { Tracer } from "../../trace/index.ts";
import { HugetlbPool, HugetlbReservation } from "./hugetlb-pool.ts";

const STEP = LARGE_FRAMES * PAGE_SIZE;

function poolOf(count: number): { pool: HugetlbPool; pages: Pages } {
  const frames = (count + 1) * LARGE_FRAMES - FIRST_ZONE_PFN;
  const pages = new Pages(new Scheduler({ tracer: new Tracer() }), FIRST_ZONE_PFN + frames);
  const ram = new Zone({ name: "ram", start: FIRST_ZONE_PFN, count: frames });
  pages.addZone(ram);
  return { pool: new HugetlbPool(pages, ram, count), pages };
}

const state = (pool: HugetlbPool): number[] => [pool.freeCount, pool.reservedCount, pool.inUse];

describe("a pool of huge pages", () => {
  it("hands out so many and no more", () => {
    const { pool, pages } = poolOf(2);
    const heads = [pool.take(false), pool.take(false)];
    expect([heads.every((head) => head % LARGE_FRAMES === 0), pool.take(false)]).toEqual([true, 0]);
    expect([pages.is(heads[0] as Pfn, PG_HUGETLB), state(pool)]).toEqual([true, [0, 0, 2]]);
  });

  it("has a page back when its last reference is gone", () => {
    const { pool, pages } = poolOf(1);
    const head = pool.take(false) as Pfn;
    pages.get(head);
    pool.give(head);
    expect([state(pool), pool.take(false)]).toEqual([[0, 0, 1], 0]);
    pages.put(head);
    expect([state(pool), pool.take(false)]).toEqual([[1, 0, 0], head]);
  });

  it("promises what is free, all or nothing", () => {
    const { pool } = poolOf(3);
    pool.take(false);
    expect([pool.reserve(3), state(pool)]).toEqual([-ENOMEM, [2, 0, 1]]);
    expect([pool.reserve(2), state(pool), pool.reserve(1)]).toEqual([0, [0, 2, 1], -ENOMEM]);
    pool.unreserve(1);
    expect(state(pool)).toEqual([1, 1, 1]);
  });

  it("keeps promised pages for those whom they were promised", () => {
    const { pool } = poolOf(1);
    pool.reserve(1);
    expect(pool.take(false)).toBe(0);
    expect([pool.take(true) !== 0, state(pool)]).toEqual([true, [0, 0, 1]]);
  });

  it("catches promises that are given back twice", () => {
    const { pool } = poolOf(1);
    pool.reserve(1);
    pool.unreserve(1);
    expect(() => pool.unreserve(1)).toThrow(/more huge pages are given back/);
  });

  it("of nothing has nothing", () => {
    const { pool } = poolOf(0);
    expect([pool.take(false), pool.reserve(1), pool.reserve(0)]).toEqual([0, -ENOMEM, 0]);
  });
});

describe("a reservation", () => {
  it("covers each huge page once", () => {
    const { pool } = poolOf(3);
    const made = HugetlbReservation.make(pool, STEP, 3 * STEP) as HugetlbReservation;
    expect(state(pool)).toEqual([1, 2, 0]);
    const taken = [0, STEP, STEP, 2 * STEP, 3 * STEP].map((offset) => made.take(offset));
    expect(taken).toEqual([false, true, false, true, false]);
  });

  it("gives back what is left of a part", () => {
    const { pool } = poolOf(3);
    const made = HugetlbReservation.make(pool, 0, 3 * STEP) as HugetlbReservation;
    made.take(0);
    pool.take(true);
    made.release(0, 2 * STEP);
    expect(state(pool)).toEqual([1, 1, 1]);
    made.release(0, 3 * STEP);
    made.release(0, 3 * STEP);
    expect([state(pool), made.take(2 * STEP)]).toEqual([[2, 0, 1], false]);
  });

  it("cannot be made when too few pages are free", () => {
    const { pool } = poolOf(1);
    expect([HugetlbReservation.make(pool, 0, 2 * STEP), state(pool)]).toEqual([-ENOMEM, [1, 0, 0]]);
  });
});
