import { describe, expect, it } from "vitest";
import {
  AssertionError,
  EFAULT,
  EINVAL,
  ENOENT,
  ENOMEM,
  EPERM,
  PAGE_SIZE,
} from "../../../src/base/index.ts";
import { VM_READ } from "../../../src/mm/index.ts";
import { Svm } from "../../../src/svm/index.ts";
import { pageAt, testWorld } from "../test-world.ts";
import { SvmMirror, SvmTest, svmTest } from "./svm-device.ts";

describe("a range", () => {
  it("is the largest chunk around the address that fits its Vma", () => {
    const world = testWorld();
    const test = svmTest(world);
    world.map(1, 8);
    expect(test.chunk(5)).toEqual([4, 8]);
    expect(test.chunk(3)).toEqual([3, 4]);
    expect(test.chunk(8)).toEqual([8, 9]);
    expect(test.svm.ranges.count).toBe(3);
  });

  it("is found again at any of its addresses", () => {
    const world = testWorld();
    const test = svmTest(world);
    world.map(0, 8);
    const range = test.range(1);
    expect([test.range(3) === range, test.range(4) === range]).toEqual([true, false]);
  });

  it("fits the device's window", () => {
    const world = testWorld();
    const window = { start: pageAt(2), end: pageAt(9) };
    const test = svmTest(world, 16, { window });
    world.map(0, 16);
    expect([test.chunk(2), test.chunk(4), test.chunk(8)]).toEqual([
      [2, 3],
      [4, 8],
      [8, 9],
    ]);
    expect([test.find(1), test.find(9)]).toEqual([-EINVAL, -EINVAL]);
  });

  it("fits the interval of its subscription", () => {
    const world = testWorld();
    const test = svmTest(world, 16, { notifierBytes: 2 * PAGE_SIZE });
    world.map(0, 8);
    expect(test.chunk(5)).toEqual([5, 6]);
  });

  it("fits beside those that are there", () => {
    const world = testWorld();
    const test = svmTest(world);
    world.map(0, 8);
    expect(test.chunk(1, { bytesMax: PAGE_SIZE })).toEqual([1, 2]);
    expect(test.chunk(2)).toEqual([2, 3]);
    expect(test.chunk(4)).toEqual([4, 8]);
  });

  it("of a checked size is taken only where every page is there", () => {
    const world = testWorld();
    const test = svmTest(world);
    world.map(0, 12);
    const check = { checkPagesBytes: 4 * PAGE_SIZE };
    expect(test.chunk(0, check)).toEqual([0, 1]);
    for (const page of [4, 5, 6, 7, 8]) world.store(page, page);
    expect(test.chunk(4, check)).toEqual([4, 8]);
    expect(test.chunk(8, { checkPagesBytes: PAGE_SIZE })).toEqual([8, 12]);
  });

  it("of a checked size may have pages on the device, but not on somebody else's", () => {
    const world = testWorld();
    const test = svmTest(world);
    world.map(0, 8);
    expect(test.fault(0, { migrate: true })).toBe(0);
    expect(world.toDevice(4, 4)).toBe(0);
    test.run(test.svm.close());
    const again = new SvmTest(world, world, new SvmMirror(world.space, test.device));
    const check = { checkPagesBytes: 4 * PAGE_SIZE };
    expect([again.chunk(0, check), again.chunk(4, check)]).toEqual([
      [0, 4],
      [4, 5],
    ]);
  });

  it("of a device without small pages may fit nowhere: -EINVAL", () => {
    const world = testWorld();
    const test = svmTest(world, 16, { chunkSizes: [4 * PAGE_SIZE] });
    world.map(0, 7);
    expect([test.chunk(0), test.find(4)]).toEqual([[0, 4], -EINVAL]);
  });

  it("needs a Vma that allows the access: -ENOENT, -EPERM", () => {
    const world = testWorld();
    const test = svmTest(world);
    world.map(0, 1, VM_READ);
    world.map(1, 1, 0);
    expect([test.find(2), test.find(0, { write: true }), test.find(1)]).toEqual([
      -ENOENT,
      -EPERM,
      -EPERM,
    ]);
    expect(test.chunk(0)).toEqual([0, 1]);
  });

  it("needs a space: -EFAULT", () => {
    const world = testWorld();
    const test = svmTest(world);
    world.map(0, 4);
    test.range(0);
    world.leave();
    expect([test.find(0), test.fault(0), test.svm.ranges.count]).toEqual([-EFAULT, -EFAULT, 0]);
  });

  it("is one of so many: -ENOMEM", () => {
    const world = testWorld();
    const test = svmTest(world, 16, { rangesMax: 2 });
    world.map(0, 12);
    test.range(0);
    test.range(4);
    expect(test.find(8)).toBe(-ENOMEM);
    expect(test.chunk(5)).toEqual([4, 8]);
  });
});

describe("the subscription of an interval", () => {
  it("comes with its first range and goes with its last", () => {
    const world = testWorld();
    const test = svmTest(world);
    world.map(0, 40);
    const before = world.space.notifiers.intervalCount;
    const count = (): number => world.space.notifiers.intervalCount - before;
    const ranges = [test.range(0), test.range(4), test.range(16), test.range(32)];
    expect([count(), test.svm.ranges.intervalCount]).toEqual([3, 3]);
    for (const range of ranges.slice(0, 3)) test.locked(() => test.svm.ranges.remove(range));
    expect([count(), test.svm.ranges.count]).toEqual([1, 1]);
    test.range(0);
    expect(count()).toBe(2);
    test.run(test.svm.close());
    expect([count(), test.svm.ranges.count]).toEqual([0, 0]);
  });

  it("is not told of other intervals", () => {
    const world = testWorld();
    const test = svmTest(world);
    world.map(0, 40);
    for (const page of [0, 16, 32]) expect(test.store(page, page)).toBe(0);
    test.mirror.log.length = 0;
    world.unmap(0, 20);
    expect(test.mirror.log).toEqual(["-0..4", "-16..20"]);
    world.check();
  });
});

describe("an svm", () => {
  it("refuses sizes that are none", () => {
    const world = testWorld();
    const window = { start: pageAt(0), end: pageAt(4) };
    const { mirror } = svmTest(world);
    const open = (options: object) => new Svm(world.space, { ops: mirror, window, ...options });
    for (const chunkSizes of [[], [PAGE_SIZE, 2 * PAGE_SIZE], [3 * PAGE_SIZE], [512]]) {
      expect(() => open({ chunkSizes })).toThrow(AssertionError);
    }
    expect(() => open({ notifierBytes: 100_000 })).toThrow(AssertionError);
    expect(() => open({ window: { start: pageAt(0), end: pageAt(0) } })).toThrow(AssertionError);
    expect(open({}).chunkSizes).toEqual([2 ** 21, 2 ** 16, PAGE_SIZE]);
  });

  it("finds ranges only for who holds its lock", () => {
    const world = testWorld();
    const test = svmTest(world);
    world.map(0, 1);
    expect(() => test.run(test.svm.findOrInsert(pageAt(0)))).toThrow("needs the lock of an svm");
  });
});
