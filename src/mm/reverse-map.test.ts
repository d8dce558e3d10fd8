import { describe, expect, it } from "vitest";
import { virtAddr } from "../base/index.ts";
import { AnonVma, ReverseMap } from "./reverse-map.ts";
import { VM_READ, Vma } from "./vma.ts";

/** Covers the offsets [offset, offset + length) of what it maps. */
const vma = (offset: number, length: number): Vma =>
  new Vma({ start: virtAddr(0x1000), end: virtAddr(0x1000 + length) }, VM_READ, { offset });

describe("a reverse map", () => {
  it("lists Vmas by offset, those with the same one as they came", () => {
    const map = new ReverseMap(1);
    const [a, b, c, d] = [vma(20, 5), vma(10, 5), vma(20, 9), vma(0, 50)];
    for (const each of [a, b, c, d]) map.link(each);
    expect(map.vmas).toEqual([d, b, a, c]);
  });

  it("puts one that comes again behind its equals", () => {
    const map = new ReverseMap(1);
    const [a, b] = [vma(20, 5), vma(20, 5)];
    for (const each of [a, b]) map.link(each);
    map.unlink(a);
    map.link(a);
    expect(map.vmas.map((each) => each === a)).toEqual([false, true]);
  });

  it("finds those that cover part of a range, its end not included", () => {
    const map = new ReverseMap(1);
    const [a, b, c] = [vma(0, 10), vma(10, 10), vma(5, 20)];
    for (const each of [a, b, c]) map.link(each);
    expect(map.overlapping(9, 10)).toEqual([a, c]);
    expect(map.overlapping(10, 11)).toEqual([c, b]);
    expect(map.overlapping(25, 99)).toEqual([]);
    expect(map.overlapping(0, Number.POSITIVE_INFINITY)).toEqual([a, c, b]);
  });

  it("gives a list of its own, which stays when the map changes", () => {
    const map = new ReverseMap(1);
    const a = vma(0, 10);
    map.link(a);
    const found = map.overlapping(0, 10);
    map.unlink(a);
    expect([found, map.vmas]).toEqual([[a], []]);
  });

  it("catches one that leaves without having been there", () => {
    expect(() => new ReverseMap(1).unlink(vma(0, 1))).toThrow(/not in/);
  });

  it("of anonymous pages knows the oldest ancestor", () => {
    const root = new AnonVma(1);
    const child = new AnonVma(2, { root });
    expect([root.root, child.root, child.file]).toEqual([root, root, undefined]);
  });
});
