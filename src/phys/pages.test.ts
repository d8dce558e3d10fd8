import { describe, expect, it } from "vitest";
import { ENOMEM, type Pfn, pfn } from "../base/index.ts";
import { Scheduler, type Sleeps, TaskState } from "../sync/index.ts";
import { MemoryGroup } from "./accounting.ts";
import { PG_CACHED, PG_DIRTY, PG_LOCKED } from "./page-flags.ts";
import { FIRST_ZONE_PFN, Pages, ZERO_PFN } from "./pages.ts";
import { Zone } from "./zone.ts";

function build(count = 4) {
  const scheduler = new Scheduler();
  const pages = new Pages(scheduler, FIRST_ZONE_PFN);
  const ram = new Zone({ name: "ram", start: FIRST_ZONE_PFN, count });
  pages.addZone(ram);
  const alloc = (): Pfn => pages.alloc(ram) as Pfn;
  const inTask = (name: string, run: () => void): void =>
    scheduler.runTask(
      name,
      (function* (): Sleeps<void> {
        run();
      })(),
    );
  return { scheduler, pages, ram, alloc, inTask };
}

describe("a frame", () => {
  it("lives from its first reference to its last", () => {
    const { pages, ram, alloc } = build(1);
    const frame = alloc();
    pages.get(frame);
    pages.put(frame);
    expect([pages.refs[frame], ram.usedCount, pages.alloc(ram)]).toEqual([1, 1, 0]);
    pages.put(frame);
    expect([pages.refs[frame], ram.usedCount]).toEqual([0, 0]);
    expect(() => pages.put(frame)).toThrow(/once too often/);
    expect(() => pages.get(frame)).toThrow(/is free/);
  });

  it("is still while nobody has it but its mappings, its cache and who asks", () => {
    const { pages, alloc } = build(1);
    const frame = alloc();
    pages.mapped(frame);
    expect([pages.isStill(frame, 1), pages.isStill(frame, 0)]).toEqual([true, false]);
    pages.setFlag(frame, PG_CACHED);
    expect(pages.isStill(frame, 1)).toBe(false);
    pages.get(frame);
    expect(pages.isStill(frame, 1)).toBe(true);
    pages.pin(frame, false);
    expect(pages.isStill(frame, 1)).toBe(false);
  });

  it("is born without the past of the one before", () => {
    const { pages, alloc } = build(1);
    const first = alloc();
    pages.setFlag(first, PG_DIRTY);
    pages.mapping[first] = 3;
    pages.put(first);
    const second = alloc();
    expect([second, pages.flags[second], pages.mapping[second]]).toEqual([first, 0, 0]);
  });

  it("holds a reference for each mapping and cannot be freed while it is mapped", () => {
    const { pages, alloc } = build();
    const frame = alloc();
    pages.mapped(frame);
    expect([pages.refs[frame], pages.mapcount[frame]]).toEqual([2, 1]);
    pages.put(frame);
    expect(() => pages.put(frame)).toThrow(/freed while it is mapped/);
  });

  it("counts the mappings of the zero page by its references only", () => {
    const { pages } = build();
    pages.mapped(ZERO_PFN);
    expect([pages.refs[ZERO_PFN], pages.mapcount[ZERO_PFN]]).toEqual([2, 0]);
    pages.unmapped(ZERO_PFN);
    pages.put(ZERO_PFN);
    expect(() => pages.put(ZERO_PFN)).toThrow(/may not be freed/);
  });

  it("counts pins, and writing ones apart", () => {
    const { pages, alloc } = build();
    const frame = alloc();
    pages.pin(frame, false);
    pages.pin(frame, true);
    expect([pages.refs[frame], pages.pins[frame], pages.writePins[frame]]).toEqual([3, 2, 1]);
    pages.unpin(frame, true);
    pages.unpin(frame, false);
    expect([pages.refs[frame], pages.pins[frame], pages.writePins[frame]]).toEqual([1, 0, 0]);
    expect(() => pages.unpin(frame, false)).toThrow(/not pinned/);
  });

  it("is charged once, uncharged when it is freed, and passes its charge on", () => {
    const { pages, alloc } = build();
    const group = new MemoryGroup("g", 1);
    const [from, to] = [alloc(), alloc()];
    expect([pages.charge(from, group), pages.charge(to, group)]).toEqual([0, -ENOMEM]);
    expect(() => pages.charge(from, group)).toThrow(/charged twice/);
    pages.moveCharge(from, to);
    pages.put(from);
    expect(group.chargedPages).toBe(1);
    pages.put(to);
    expect(group.chargedPages).toBe(0);
  });
});

describe("a page lock", () => {
  it("has one holder, and wakes who waits for it", () => {
    const { scheduler, pages, alloc, inTask } = build();
    const frame = alloc();
    inTask("never unlocks", () => expect(() => pages.unlock(frame)).toThrow(/not locked/));
    const waiter = scheduler.spawn("waiter", waitFor());
    function* waitFor(): Sleeps<void> {
      expect(pages.tryLock(frame)).toBe(true);
      const second = scheduler.spawn("second", pages.waitUnlocked(frame));
      yield 0;
      expect([second.state, pages.tryLock(frame)]).toEqual([TaskState.blocked, false]);
      pages.unlock(frame);
      yield 0;
      expect(second.state).toBe(TaskState.done);
    }
    scheduler.runUntil(waiter);
    expect(pages.is(frame, PG_LOCKED)).toBe(false);
  });

  it("wakes who waits for any change when a page is unpinned", () => {
    const { scheduler, pages, alloc } = build();
    const frame = alloc();
    pages.pin(frame, false);
    const waiter = scheduler.spawn("waiter", pages.waitForChange(100));
    scheduler.spawn(
      "unpinner",
      (function* (): Sleeps<void> {
        pages.unpin(frame, false);
      })(),
    );
    scheduler.run();
    expect([waiter.result, scheduler.nowMs]).toEqual([true, 0]);
    expect(scheduler.runTask("late", pages.waitForChange(7))).toBe(false);
  });
});

describe("zones", () => {
  it("grow the table without losing what is known", () => {
    const { pages, alloc } = build();
    const frame = alloc();
    pages.setFlag(frame, PG_DIRTY);
    const device = new Zone({ name: "device", start: pfn(5000), count: 8, pagemapId: 2 });
    pages.addZone(device);
    const far = pages.alloc(device) as Pfn;
    expect([pages.isDevice(far), pages.isDevice(frame), pages.is(frame, PG_DIRTY)]).toEqual([
      true,
      false,
      true,
    ]);
    expect(pages.zoneOf(far)).toBe(device);
    expect(() => pages.removeZone(device)).toThrow(/still has 1 frames/);
    pages.put(far);
    pages.removeZone(device);
    expect(() => pages.zoneOf(far)).toThrow(/belongs to no zone/);
  });

  it("never overlap", () => {
    const { pages } = build();
    const start = pfn(FIRST_ZONE_PFN + 3);
    expect(() => pages.addZone(new Zone({ name: "other", start, count: 2 }))).toThrow(/overlaps/);
  });

  it("give the frame that is asked for", () => {
    const { pages, ram } = build();
    const frame = pfn(FIRST_ZONE_PFN + 2);
    expect([pages.allocAt(ram, frame), pages.allocAt(ram, frame)]).toEqual([frame, 0]);
    expect(pages.refs[frame]).toBe(1);
  });
});
