import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { replayable } from "../../test/replay/replay.ts";
import { virtAddr } from "../base/index.ts";
import { AnonVma } from "./reverse-map.ts";
import { VM_READ, VM_WRITE, Vma, VmaSet } from "./vma.ts";

const RW = VM_READ | VM_WRITE;
const vma = (start: number, end: number, flags = RW): Vma =>
  new Vma({ start: virtAddr(start), end: virtAddr(end) }, flags);
const setOf = (...vmas: readonly Vma[]): VmaSet => {
  const set = new VmaSet();
  for (const each of vmas) set.insert(each);
  return set;
};
const shapeOf = (set: VmaSet): number[][] =>
  set.all.map(({ start, end, flags }) => [start, end, flags]);

/**
 * Three neighbours by their reverse maps (none, one, other), and what is left when the middle one
 * has changed. The middle joins a neighbour with the same, and one without a reverse map joins
 * whoever has one; whoever has one does not join a neighbour without (that one's chain is empty).
 * Where it may join both, they come together unless one has 1 and the other 2.
 */
const MERGED: readonly (readonly [string, string])[] = [
  ["---", "---"],
  ["--1", "111"],
  ["--2", "222"],
  ["-1-", "- 1 -"],
  ["-11", "- 11"],
  ["-12", "- 1 2"],
  ["-2-", "- 2 -"],
  ["-21", "- 2 1"],
  ["-22", "- 22"],
  ["1--", "111"],
  ["1-1", "111"],
  ["1-2", "11 2"],
  ["11-", "11 -"],
  ["111", "111"],
  ["112", "11 2"],
  ["12-", "1 2 -"],
  ["121", "1 2 1"],
  ["122", "1 22"],
  ["2--", "222"],
  ["2-1", "22 1"],
  ["2-2", "222"],
  ["21-", "2 1 -"],
  ["211", "2 11"],
  ["212", "2 1 2"],
  ["22-", "22 -"],
  ["221", "22 1"],
  ["222", "222"],
];

describe("a set of Vmas", () => {
  it("finds the one that contains an address, or the next one", () => {
    const set = setOf(vma(10, 20), vma(20, 30, VM_READ), vma(40, 50));
    const startAt = (address: number) => set.find(virtAddr(address))?.start;
    expect([9, 10, 19, 20, 30, 49, 50].map(startAt)).toEqual([
      undefined,
      10,
      10,
      20,
      undefined,
      40,
      undefined,
    ]);
    expect([0, 25, 30, 50].map((at) => set.findNext(virtAddr(at))?.start)).toEqual([
      10,
      20,
      40,
      undefined,
    ]);
  });

  it("refuses one on top of another", () => {
    expect(() => setOf(vma(10, 20), vma(5, 11))).toThrow(/on top of another/);
    expect(() => setOf(vma(10, 20), vma(15, 18))).toThrow(/on top of another/);
  });

  it("splits in the middle only", () => {
    const set = setOf(vma(10, 20));
    for (const at of [10, 14, 14, 20, 30]) set.split(virtAddr(at));
    expect(shapeOf(set)).toEqual([
      [10, 14, RW],
      [14, 20, RW],
    ]);
  });

  it("merges neighbours of one kind that touch", () => {
    const middle = vma(20, 30);
    const set = setOf(vma(10, 20), middle, vma(30, 40), vma(41, 50), vma(50, 60, VM_READ));
    expect(set.merge(middle).end).toBe(40);
    set.merge(set.find(virtAddr(45))!);
    expect(shapeOf(set)).toEqual([
      [10, 40, RW],
      [41, 50, RW],
      [50, 60, VM_READ],
    ]);
  });

  it.each(MERGED)("merges %s, by their reverse maps, to %s", (drawn, wanted) => {
    const one = new AnonVma(1);
    const other = new AnonVma(2);
    const vmas = [...drawn].map((letter, i) => {
      const made = vma(10 * i, 10 * i + 10);
      made.link();
      if (letter === "-") return made;
      made.anonVma = letter === "1" ? one : other;
      made.joinAnon(made.anonVma);
      return made;
    });
    const set = setOf(...vmas);
    set.merge(vmas[1]!);
    const nameOf = ({ start, end, anonVma }: Vma): string =>
      (anonVma === undefined ? "-" : String(anonVma.id)).repeat((end - start) / 10);
    expect(set.all.map(nameOf).join(" ")).toBe(wanted);
    for (const anon of [one, other]) {
      expect(anon.vmas).toEqual(set.all.filter(({ anonVma }) => anonVma === anon));
    }
  });

  it("keeps a child's apart from what has no reverse map", () => {
    const child = vma(10, 20);
    child.joinAnon(new AnonVma(1));
    child.anonVma = new AnonVma(2);
    child.joinAnon(child.anonVma);
    const set = setOf(vma(0, 10), child, vma(20, 30));
    for (const each of [...set.all]) set.merge(each);
    expect(set.all.length).toBe(3);
  });

  it("extends one over a hole, and asks only what it touches then", () => {
    const below = vma(0, 10);
    const [grown, above] = [vma(10, 20), vma(25, 30)];
    const set = setOf(below, grown, above);
    expect(set.extend(grown, virtAddr(22))).toBe(grown);
    expect(set.extend(grown, virtAddr(25))).toBe(grown);
    expect(shapeOf(set)).toEqual([
      [0, 10, RW],
      [10, 30, RW],
    ]);
    expect(() => set.extend(below, virtAddr(11))).toThrow(/over another/);
  });

  it("takes back what it detached as if it had never been", () => {
    const set = setOf(vma(10, 20), vma(20, 30, VM_READ), vma(40, 50));
    const before = shapeOf(set);
    const gone = set.detach(virtAddr(15), virtAddr(45));
    expect(shapeOf(set)).toEqual([
      [10, 15, RW],
      [45, 50, RW],
    ]);
    set.attach(gone);
    expect(shapeOf(set)).toEqual(before);
  });

  it("finds the lowest hole that is big enough", () => {
    const set = setOf(vma(10, 20), vma(24, 30));
    const hole = (bytes: number, low = 0, high = 40) =>
      set.findHole(bytes, virtAddr(low), virtAddr(high), 1);
    expect([hole(10), hole(4, 10), hole(5, 10), hole(11)]).toEqual([0, 20, 30, undefined]);
    expect(hole(3, 15)).toBe(20);
  });

  it("agrees with one flag a page, whatever is mapped and unmapped", () => {
    const act = fc.record({
      kind: fc.constantFrom("map", "unmap"),
      start: fc.nat(30),
      length: fc.integer({ min: 1, max: 8 }),
      flags: fc.constantFrom(VM_READ, RW),
    });
    fc.assert(
      fc.property(fc.array(act), (acts) => {
        const set = new VmaSet();
        const model = new Array<number>(40).fill(0);
        for (const { kind, start, length, flags } of acts) {
          const end = start + length;
          set.detach(virtAddr(start), virtAddr(end));
          if (kind === "map") {
            const added = vma(start, end, flags);
            set.insert(added);
            set.merge(added);
          }
          model.fill(kind === "map" ? flags : 0, start, end);
        }
        expect(model.map((_, at) => set.find(virtAddr(at))?.flags ?? 0)).toEqual(model);
      }),
      replayable("vma-set"),
    );
  });
});
