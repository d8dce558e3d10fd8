import { describe, expect, it } from "vitest";
import type { Pfn } from "../../../src/base/index.ts";
import { vpnOf } from "../../../src/base/index.ts";
import { mappersOf, mremap, VM_READ } from "../../../src/mm/index.ts";
import { PG_ANON, PG_EXCLUSIVE } from "../../../src/phys/index.ts";
import {
  bytesOf,
  pageAt,
  pageNumber,
  RW,
  type TestProcess,
  type TestWorld,
  testWorld,
} from "../test-world.ts";

/** Where `frame` may be mapped: the number of the space and the page. */
const placesOf = (world: TestWorld, frame: Pfn): number[][] =>
  mappersOf(world.memory, frame).map(({ vma, address }) => [
    vma.space.id,
    pageNumber(vpnOf(address)),
  ]);

const place = (process: TestProcess, page: number): number[] => [process.space.id, page];

/** Pages 0 to `count` - 1, written with 10, 11, … */
function filled(count: number): TestWorld {
  const world = testWorld();
  world.map(0, count);
  for (let page = 0; page < count; page++) world.store(page, 10 + page);
  return world;
}

describe("the reverse map of an anonymous page", () => {
  it("names the one place where it is", () => {
    const world = filled(2);
    expect(placesOf(world, world.frame(1))).toEqual([place(world, 1)]);
    expect(world.memory.pages.is(world.frame(1), PG_ANON)).toBe(true);
  });

  it("knows nothing of the zero page", () => {
    const world = testWorld();
    world.map(0, 1);
    world.load(0);
    expect(placesOf(world, world.frame(0))).toEqual([]);
  });

  it("names parent and children, the oldest first", () => {
    const world = filled(1);
    const child = world.fork();
    const grandchild = world.fork(child);
    const all = [world, child, grandchild].map((each) => place(each, 0));
    expect(placesOf(world, world.frame(0))).toEqual(all);
  });

  it("of a copy that a child made names the child and its children only", () => {
    const world = filled(1);
    const child = world.fork();
    child.store(0, 7);
    const grandchild = world.fork(child);
    expect(placesOf(world, child.frame(0))).toEqual([place(child, 0), place(grandchild, 0)]);
    expect(placesOf(world, world.frame(0)).length).toBe(3);
  });

  it("names places that lost the page long ago, but not those that are unmapped", () => {
    const world = filled(2);
    const child = world.fork();
    child.store(0, 7);
    expect(placesOf(world, world.frame(0))).toEqual([place(world, 0), place(child, 0)]);
    child.unmap(0, 1);
    expect(placesOf(world, world.frame(0))).toEqual([place(world, 0)]);
    expect(placesOf(world, world.frame(1))).toEqual([place(world, 1), place(child, 1)]);
  });

  it("follows a mapping that moves, in one space and not in the other", () => {
    const world = filled(2);
    const child = world.fork();
    const options = { start: pageAt(0), bytes: bytesOf(2), newBytes: bytesOf(2) };
    child.run(mremap(child.space, { ...options, newStart: pageAt(30) }));
    expect(placesOf(world, world.frame(1)).sort()).toEqual([place(world, 1), place(child, 31)]);
  });

  it("is one for neighbours that differ in rights only, which can therefore merge again", () => {
    const world = testWorld();
    world.map(0, 3);
    world.store(0, 1);
    world.protect(1, 1, VM_READ);
    world.store(2, 3);
    expect(world.vma(2).anonVma).toBe(world.vma(0).anonVma);
    world.protect(1, 1, RW);
    expect([world.layout, world.loads(0, 3)]).toEqual([[[0, 3]], [1, 0, 3]]);
  });

  it("keeps mappings apart that were touched apart", () => {
    const world = testWorld();
    world.map(0, 1);
    world.map(2, 1);
    for (const page of [0, 2]) world.store(page, 7);
    world.map(1, 1);
    expect(world.layout).toEqual([
      [0, 2],
      [2, 3],
    ]);
  });

  it("is not made by reading", () => {
    const world = testWorld();
    world.map(0, 1);
    world.load(0);
    world.deviceLoad(0);
    expect(world.vma(0).anonVma).toBeUndefined();
  });

  it("gets the page back that a child shared, when the child is gone", () => {
    const world = filled(1);
    const child = world.fork();
    world.leave();
    child.store(0, 7);
    expect(placesOf(world, child.frame(0))).toEqual([place(child, 0)]);
    expect(world.memory.pages.is(child.frame(0), PG_EXCLUSIVE)).toBe(true);
    expect(world.memory.pages.mapping[child.frame(0)]).toBe(child.vma(0).anonVma!.id);
  });

  it("is forgotten with the last mapping", () => {
    const world = filled(1);
    const { id } = world.vma(0).anonVma!;
    const child = world.fork();
    world.unmap(0, 1);
    expect(world.memory.reverseMap(id)).toBeDefined();
    child.unmap(0, 1);
    expect(world.memory.reverseMap(id)).toBeUndefined();
  });

  it("finds a page after its mapping was cut around it", () => {
    const world = filled(3);
    world.unmap(0, 1);
    world.protect(2, 1, VM_READ);
    expect([1, 2].map((page) => placesOf(world, world.frame(page)))).toEqual([
      [place(world, 1)],
      [place(world, 2)],
    ]);
    expect([world.toDevice(1, 2), world.loads(1, 2)]).toEqual([0, [11, 12]]);
  });
});

describe("the reverse map of a file", () => {
  it("names every mapping of the page, private ones and children too", () => {
    const world = testWorld();
    const file = world.file(4);
    world.map(0, 4, RW, { file, isShared: true });
    world.map(10, 2, RW, { file, offset: bytesOf(2) });
    const child = world.fork();
    const places = placesOf(world, file.find(2) as Pfn);
    expect(places).toEqual([place(world, 2), place(child, 2), place(world, 10), place(child, 10)]);
    expect(placesOf(world, file.find(0) as Pfn).length).toBe(2);
  });

  it("does not name private copies, which have their own", () => {
    const world = testWorld();
    const file = world.file(1);
    world.map(0, 1, RW, { file });
    world.store(0, 7);
    expect(world.memory.pages.mapping[world.frame(0)]).toBe(world.vma(0).anonVma!.id);
    expect(placesOf(world, world.frame(0))).toEqual([place(world, 0)]);
  });

  it("forgets mappings that are gone", () => {
    const world = testWorld();
    const file = world.file(2);
    world.map(0, 2, RW, { file, isShared: true });
    world.unmap(0, 1);
    expect([placesOf(world, file.find(0) as Pfn), file.reverse.vmas.length]).toEqual([[], 1]);
    expect(placesOf(world, file.find(1) as Pfn)).toEqual([place(world, 1)]);
  });
});
