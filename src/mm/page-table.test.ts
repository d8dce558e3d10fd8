import { describe, expect, it } from "vitest";
import { pfn, SPACE_PAGES, vpn } from "../base/index.ts";
import { LEAF_PAGES, LEAF_USED, LEAF_VALID, LEAF_WRITABLE, PageTable } from "./page-table.ts";
import { makePte, PTE_DEVICE_PRIVATE, PTE_NONE, PTE_VALID, PTE_WRITE } from "./pte.ts";

const READ = makePte(pfn(7), PTE_VALID);
const WRITE = makePte(pfn(8), PTE_VALID | PTE_WRITE);
const PRIVATE = makePte(pfn(9), PTE_DEVICE_PRIVATE | PTE_WRITE);

describe("a page table", () => {
  it("is empty where nothing was written", () => {
    const table = new PageTable();
    expect([table.get(vpn(0)), table.get(vpn(SPACE_PAGES - 1)), table.usedCount]).toEqual([
      0, 0, 0,
    ]);
    expect([table.leafOf(vpn(5)), table.countOf(vpn(5), LEAF_USED)]).toEqual([undefined, 0]);
  });

  it("keeps entries from the first page to the last", () => {
    const table = new PageTable();
    table.set(vpn(0), READ);
    table.set(vpn(SPACE_PAGES - 1), WRITE);
    expect([table.get(vpn(0)), table.get(vpn(SPACE_PAGES - 1))]).toEqual([READ, WRITE]);
    expect(() => table.set(vpn(SPACE_PAGES), READ)).toThrow();
  });

  it("counts the kinds of entries of each leaf", () => {
    const table = new PageTable();
    const counts = () =>
      [LEAF_USED, LEAF_VALID, LEAF_WRITABLE].map((each) => table.countOf(vpn(0), each));
    for (const [page, pte] of [READ, WRITE, PRIVATE].entries()) table.set(vpn(page), pte);
    table.set(vpn(LEAF_PAGES), READ);
    expect([counts(), table.usedCount]).toEqual([[3, 2, 2], 4]);
    table.set(vpn(1), READ);
    table.set(vpn(2), PTE_NONE);
    expect([counts(), table.usedCount]).toEqual([[2, 2, 0], 3]);
  });

  it("finds the next entry, across leaves and holes", () => {
    const table = new PageTable();
    const used = [3, LEAF_PAGES - 1, LEAF_PAGES, 40 * LEAF_PAGES + 2];
    for (const page of used) table.set(vpn(page), READ);
    table.set(vpn(5), READ);
    table.set(vpn(5), PTE_NONE);
    const end = vpn(41 * LEAF_PAGES);
    const found: number[] = [];
    for (let at = table.nextUsed(vpn(0), end); at < end; at = table.nextUsed(vpn(at + 1), end)) {
      found.push(at);
    }
    expect(found).toEqual(used);
    expect(table.nextUsed(vpn(4), vpn(9))).toBe(9);
  });

  it("grows beyond its first leaves without losing a count", () => {
    const table = new PageTable();
    for (let leaf = 0; leaf < 20; leaf++) table.set(vpn(leaf * LEAF_PAGES), WRITE);
    for (let leaf = 0; leaf < 20; leaf++) {
      expect(table.countOf(vpn(leaf * LEAF_PAGES + 9), LEAF_WRITABLE)).toBe(1);
    }
  });
});

describe("an entry", () => {
  it("holds frames of 24 bits and flags of 8", () => {
    expect(makePte(pfn(2 ** 24 - 1), 0xff)).toBe(0xffffffff);
    expect(() => makePte(pfn(2 ** 24), PTE_VALID)).toThrow(/fits no entry/);
    expect(() => makePte(pfn(0), PTE_VALID)).toThrow(/fits no entry/);
    expect(() => makePte(pfn(1), 0x100)).toThrow(/8 bits/);
  });
});
