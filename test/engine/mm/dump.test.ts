import { describe, expect, it } from "vitest";
import {
  Advice,
  adviseAccess,
  dumpSpace,
  SwapArea,
  VM_READ,
  VmHint,
} from "../../../src/mm/index.ts";
import { bytesOf, pageAt, RW, testWorld } from "../test-world.ts";

describe("the dump of a space", () => {
  it("has a line for each mapping with where its pages are, and one for all", () => {
    const world = testWorld({ swap: new SwapArea(8) });
    world.map(0, 6);
    world.map(8, 2, VM_READ);
    const file = world.file(2);
    world.map(12, 2, RW, { file });
    for (const page of [0, 1, 2, 3]) world.store(page, page);
    world.toDevice(1, 1);
    world.exclusive(2, 1);
    expect(world.advise(3, 1, Advice.pageOut)).toBe(0);
    world.load(12);
    expect(dumpSpace(world.space).split("\n")).toEqual([
      "range                   rights  kind       pages  ram  copied  device  moving  exclusive  swapped  special",
      "0x10000000..0x10006000  rw-p    anonymous      6    1       0       1       0          1        1        0",
      "0x10008000..0x1000a000  r--p    anonymous      2    0       0       0       0          0        0        0",
      "0x1000c000..0x1000e000  rw-p    file           2    2       0       0       0          0        0        0",
      "all                                           10    3       0       1       0          1        1        0",
    ]);
  });

  it("says what a mapping is advised to be", () => {
    const world = testWorld();
    world.map(0, 2);
    const hints = { set: VmHint.readMostly | VmHint.preferCpu, clear: 0 };
    world.run(adviseAccess(world.space, pageAt(1), bytesOf(1), hints));
    const lines = dumpSpace(world.space).split("\n");
    expect(lines.map((line) => line.match(/ {2}[a-z,-]+$/)?.[0].trim())).toEqual([
      "special",
      undefined,
      "read-mostly,preferred-cpu",
      undefined,
    ]);
  });

  it("counts memory of a device that the CPU can reach as the device's", () => {
    const world = testWorld({ isCoherent: true });
    world.map(0, 2);
    world.store(0, 1);
    world.store(1, 1);
    world.toDevice(0, 1);
    const all = dumpSpace(world.space).split("\n").at(-1);
    expect(all).toMatch(/^all +2 +1 +0 +1( +0)+$/);
  });
});
