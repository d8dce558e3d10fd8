import { describe, expect, it } from "vitest";
import { EFAULT, virtAddr, vpn, vpnOf } from "../../../src/base/index.ts";
import { faultPages } from "../../../src/machine/engine/fault-pages.ts";
import { FAULT_WRITE, PTE_VALID, PTE_WRITE } from "../../../src/mm/index.ts";
import { pageAt, type TestProcess, testWorld } from "../test-world.ts";

function fault(process: TestProcess, page: number, count: number, flags: number) {
  const start = vpnOf(pageAt(page));
  const failure = { address: virtAddr(0) };
  const range = { start, end: vpn(start + count) };
  const result = process.run(faultPages(process.space, range, flags, failure));
  const rights = Array.from(
    { length: count },
    (_, i) => process.space.pageTable.get(vpn(start + i)) & (PTE_VALID | PTE_WRITE),
  );
  return { result, failure: failure.address, rights };
}

describe("faulting many pages in", () => {
  it("goes on with a page until the access is possible: home first, then a copy of its own", () => {
    const parent = testWorld();
    parent.map(0, 4);
    for (let page = 0; page < 4; page++) expect(parent.store(page, page + 1)).toBe(0);
    expect(parent.toDevice(1, 2)).toBe(0);
    const child = parent.fork();
    const rw = PTE_VALID | PTE_WRITE;
    expect(fault(parent, 0, 4, FAULT_WRITE)).toMatchObject({ result: 0, rights: [rw, rw, rw, rw] });
    expect(parent.loads(0, 4)).toEqual([1, 2, 3, 4]);
    expect(parent.store(1, 9)).toBe(0);
    expect(child.loads(0, 4)).toEqual([1, 2, 3, 4]);
  });

  it("stops at the first page that cannot be had, and says which", () => {
    const process = testWorld();
    process.map(0, 2);
    process.map(3, 1);
    const done = fault(process, 0, 4, FAULT_WRITE);
    expect(done).toMatchObject({ result: -EFAULT, failure: pageAt(2) });
    expect(done.rights.map((each) => each !== 0)).toEqual([true, true, false, false]);
  });
});
