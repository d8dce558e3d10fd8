import { describe, expect, it } from "vitest";
import { EFAULT, virtAddr, vpn, vpnOf } from "../../../src/base/index.ts";
import { SoftCpu } from "../../../src/cpu/index.ts";
import { mprotect, munmap, VM_READ } from "../../../src/mm/index.ts";
import { BASE, bytesOf, pageAt, testWorld } from "../test-world.ts";

describe("the soft CPU", () => {
  it("loads what was stored, word by word", () => {
    const world = testWorld();
    world.map(0, 2);
    const at = virtAddr(BASE + 4092);
    world.run(world.cpu.store(at, 0xfffffffe));
    world.run(world.cpu.store(pageAt(1), 3));
    expect(world.run(world.cpu.load(at))).toEqual({ value: 0xfffffffe });
    expect([world.load(0), world.load(1)]).toEqual([0, 3]);
    expect(() => world.run(world.cpu.load(virtAddr(BASE + 2)))).toThrow(/4-byte aligned/);
  });

  it("faults once and remembers, until the right is taken", () => {
    const world = testWorld();
    world.map(0, 1);
    world.store(0, 1);
    const faults = world.count("mm:fault");
    expect([world.store(0, 2), world.load(0), world.count("mm:fault")]).toEqual([0, 2, faults]);
    world.run(mprotect(world.space, pageAt(0), bytesOf(1), VM_READ));
    expect([world.store(0, 3), world.load(0)]).toEqual([-EFAULT, 2]);
    world.run(munmap(world.space, pageAt(0), bytesOf(1)));
    expect([world.load(0), world.cpu.tlb.size]).toEqual([-EFAULT, 0]);
  });

  it("forgets a small part and a large part of what it knows", () => {
    const world = testWorld();
    world.map(0, 6);
    for (let page = 0; page < 6; page++) world.load(page);
    const first = vpnOf(BASE);
    world.cpu.revoke(vpn(first + 1), vpn(first + 3));
    const known = () => [...world.cpu.tlb.keys()].map((page) => page - first);
    expect(known()).toEqual([0, 3, 4, 5]);
    world.cpu.revoke(vpn(first + 4), vpn(first + 400));
    expect(known()).toEqual([0, 3]);
  });

  it("sees what another CPU wrote, and forgets with it", () => {
    const world = testWorld();
    const other = new SoftCpu(world.space);
    world.shadows.push(other);
    world.map(0, 1);
    world.run(other.load(pageAt(0)));
    world.store(0, 9);
    world.check();
    expect(world.run(other.load(pageAt(0)))).toEqual({ value: 9 });
    other.dispose();
    expect([other.tlb.size, world.space.mmus.length]).toEqual([0, 1]);
  });
});
