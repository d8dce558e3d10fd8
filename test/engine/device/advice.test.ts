/** What programs advise, on a device that cannot read RAM: copies that stay, and who makes room. */
import { describe, expect, it } from "vitest";
import { vpnOf } from "../../../src/base/index.ts";
import { adviseAccess, isWritable, VM_HINTS, VmHint } from "../../../src/mm/index.ts";
import { bytesOf, pageAt, type TestProcess, testWorld } from "../test-world.ts";
import { deviceTest, inProcess } from "./test-device.ts";

function advise(process: TestProcess, page: number, count: number, set: number, clear = VM_HINTS) {
  const hints = { set, clear };
  return process.run(adviseAccess(process.space, pageAt(page), bytesOf(count), hints));
}

/** Pages 0 to 3 hold 10 to 13, written by a device that gets copies; they are mostly read. */
function fourPages(frames = 16) {
  const world = testWorld();
  const test = deviceTest(world, { reachesRam: false, frames });
  world.map(0, 4);
  advise(world, 0, 4, VmHint.readMostly);
  for (let page = 0; page < 4; page++) test.store(page, 10 + page);
  expect(test.places()).toBe("dddd");
  return { world, test };
}

const copiesOf = ({ shadow }: ReturnType<typeof deviceTest>): boolean[] =>
  [0, 1, 2, 3].map((page) => shadow.allows(vpnOf(pageAt(page)), false));

describe("a page that is mostly read", () => {
  it("goes home to be read, and stays as a copy", () => {
    const { world, test } = fourPages();
    expect([world.load(1), test.places(), copiesOf(test)]).toEqual([
      11,
      "drdd",
      Array(4).fill(true),
    ]);
    expect([isWritable(world.pte(1)), test.load(1)]).toEqual([false, 11]);
    const { copiesKept, pagesToDevice } = test.device.memory.counters;
    expect([copiesKept, pagesToDevice]).toEqual([1, 0]);
    expect([test.device.framesUsed, test.device.memory.frames.keptCount]).toEqual([4, 1]);
  });

  it("loses the copy when it is written there, and moves no byte when it is written here", () => {
    const { world, test } = fourPages();
    world.load(0);
    world.load(1);
    world.store(0, 20);
    expect([copiesOf(test)[0], isWritable(world.pte(0))]).toEqual([false, true]);
    expect([test.store(1, 21), test.places(), world.load(1)]).toEqual([0, "rddd", 21]);
    expect(test.device.memory.counters.pagesToDevice).toBe(0);
    expect([test.load(0), test.load(1)]).toEqual([20, 21]);
  });

  it("has none when it is written first, or when somebody else maps it", () => {
    const { world, test } = fourPages();
    world.store(0, 20);
    expect([test.places(), copiesOf(test)[0]]).toEqual(["rddd", false]);
    const child = world.fork();
    const other = inProcess(test, child);
    expect([world.load(2), child.load(2)]).toEqual([12, 12]);
    expect([copiesOf(test)[2], copiesOf(other)[2]]).toEqual([false, false]);
    child.store(3, 33);
    expect([world.load(3), child.load(3), test.load(3)]).toEqual([13, 33, 13]);
  });

  it("keeps all of a range, and gives the frames back with the mapping", () => {
    const { world, test } = fourPages();
    expect(world.run(test.shadow.moveHome(pageAt(0), pageAt(4), true))).toBe(4);
    expect([test.places(), copiesOf(test)]).toEqual(["rrrr", Array(4).fill(true)]);
    world.unmap(0, 2);
    expect([test.device.framesUsed, test.device.memory.frames.keptCount]).toEqual([2, 2]);
    world.move(2, 2, 8);
    expect(test.device.framesUsed).toBe(0);
    expect(world.loads(8, 2)).toEqual([12, 13]);
  });

  it("makes room as all copies do: without a move", () => {
    const { world, test } = fourPages(5);
    world.load(0);
    const { pagesHome } = test.device.memory.counters;
    expect(world.run(test.device.memory.makeRoom(1))).toBe(true);
    expect([copiesOf(test), test.device.memory.counters.pagesHome]).toEqual([
      [false, true, true, true],
      pagesHome,
    ]);
  });
});

describe("room on the device", () => {
  it("is made of what belongs in RAM first, and of what belongs on the device last", () => {
    const { world, test } = fourPages(5);
    advise(world, 0, 1, VmHint.preferDevice);
    advise(world, 2, 1, VmHint.preferCpu);
    const order: string[] = [];
    for (let count = 1; count <= 4; count++) {
      expect(world.run(test.device.memory.makeRoom(count))).toBe(true);
      order.push(test.places());
    }
    expect(order).toEqual(["ddrd", "drrd", "drrr", "rrrr"]);
    expect(world.loads(0, 4)).toEqual([10, 11, 12, 13]);
  });
});

describe("advice", () => {
  it("cuts mappings and merges them again, and goes with mremap and fork", () => {
    const world = testWorld();
    world.map(0, 6);
    for (let page = 0; page < 6; page++) world.store(page, page);
    advise(world, 1, 3, VmHint.accessedByDevice);
    expect([advise(world, 0, 6, 0), world.layout]).toEqual([0, [[0, 6]]]);
    expect(advise(world, 2, 2, VmHint.readMostly | VmHint.preferCpu)).toBe(0);
    expect(world.layout).toEqual([
      [0, 2],
      [2, 4],
      [4, 6],
    ]);
    const child = world.fork();
    world.move(2, 2, 16);
    const hints = [world.vma(16), child.vma(2), child.vma(0)].map(({ flags }) => flags & VM_HINTS);
    expect(hints).toEqual([
      VmHint.readMostly | VmHint.preferCpu,
      VmHint.readMostly | VmHint.preferCpu,
      0,
    ]);
    expect(world.loads(16, 2)).toEqual([2, 3]);
  });
});
