/** Access brackets where page faults are real: for system calls, and for pages that must stay. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { EFAULT, virtAddr } from "../../../src/base/index.ts";
import { HostCpu, probeHost } from "../../../src/cpu/index.ts";
import { buildWorld } from "../../../src/machine/world.ts";
import { AddressSpace, VM_READ } from "../../../src/mm/index.ts";
import { PG_DIRTY } from "../../../src/phys/index.ts";
import { bytesOf } from "../test-world.ts";
import { at, hostWorld, pageOf } from "./host-world.ts";

const { obstacle, kernelFaults } = probeHost();
const whyNoKernelFaults = "reason" in kernelFaults ? kernelFaults.reason : undefined;

/** A scrap that writes [a.start, a.start + a.bytes) to a file. */
const WRITE_FILE = `
  const fs = require("node:fs");
  const fd = fs.openSync(a.path, "w");
  try {
    return fs.writeSync(fd, u8.subarray(a.start, a.start + a.bytes));
  } finally {
    fs.closeSync(fd);
  }
`;

function filePath(): string {
  const folder = mkdtempSync(join(tmpdir(), "onespace-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return join(folder, "pages");
}

describe.skipIf(obstacle)(`a bracket (${obstacle?.reason ?? "served here"})`, () => {
  it("installs its pages, so that touching them is no fault", async () => {
    const world = hostWorld();
    const user = await world.addUser();
    world.map(0, 4);
    const pinned = world.open(1, 2, true);
    expect([world.rights(0, 4), world.brackets.count]).toEqual(["-ww-", 1]);
    expect(world.cpu.mayTouch(at(1), bytesOf(2), true)).toBe(true);
    expect(world.cpu.mayTouch(at(1), bytesOf(2) + 1, false)).toBe(false);
    expect(world.brackets.find(pageOf(0), pageOf(2))).toBe(pinned);
    expect(world.brackets.find(pageOf(3), pageOf(9))).toBeUndefined();
    const { install } = world.memory.calls;
    world.store(user, 2, 7);
    expect([world.word(2), world.memory.calls.install]).toEqual([7, install]);
    const { pages } = world.world;
    pages.clearFlag(pinned.frames[0]!, PG_DIRTY);
    world.brackets.close(pinned);
    expect(pages.is(pinned.frames[0]!, PG_DIRTY)).toBe(true);
    expect(() => world.brackets.close(pinned)).toThrow(/closed twice/);
  });

  it("brings pages home from a device and keeps them from going there", async () => {
    const world = hostWorld();
    const user = await world.addUser();
    world.map(0, 2);
    world.store(user, 0, 5);
    world.store(user, 1, 6);
    world.toDevice(0, 2);
    const pinned = world.open(0, 1, false);
    expect([world.rights(0, 2), world.word(0)]).toEqual(["w-", 5]);
    world.toDevice(0, 1);
    expect([world.rights(0, 2), world.load(user, 0)]).toEqual(["w-", 5]);
    world.brackets.close(pinned);
    world.toDevice(0, 1);
    expect(world.rights(0, 2)).toBe("--");
  });

  it("keeps its pages installed while their neighbours leave", async () => {
    const world = hostWorld();
    const user = await world.addUser();
    world.map(0, 5);
    for (const page of [0, 2, 3]) world.store(user, page, page + 1);
    const pinned = world.open(2, 1, true);
    world.toDevice(0, 5);
    expect(world.rights(0, 5)).toBe("--w--");
    world.brackets.close(pinned);
    expect([0, 2, 3].map((page) => world.load(user, page))).toEqual([1, 3, 4]);
  });

  it("opens on all pages or none", () => {
    const world = hostWorld();
    world.map(0, 1);
    world.map(1, 1, VM_READ);
    const failure = { address: virtAddr(0) };
    const range = { start: at(0), end: at(2) };
    expect(world.run(world.brackets.open(range, true, failure))).toBe(-EFAULT);
    expect([failure.address, world.brackets.count]).toEqual([at(1), 0]);
  });

  it("is needed by system calls, whose faults nobody serves without privilege", async () => {
    const world = hostWorld({ kernelFaults: false });
    const user = await world.addUser();
    world.map(0, 4);
    world.store(user, 0, 0x61616161);
    const path = filePath();
    const write = { path, start: at(0), bytes: bytesOf(4) };
    // The first page is there, the others are not: a short write.
    expect(world.do(user, WRITE_FILE, write)).toBe(bytesOf(1));
    expect(() => world.do(user, WRITE_FILE, { ...write, start: at(1) })).toThrow("EFAULT");
    const pinned = world.open(0, 4, false);
    expect(world.do(user, WRITE_FILE, write)).toBe(bytesOf(4));
    world.brackets.close(pinned);
    expect(readFileSync(path, "latin1").slice(0, 6)).toBe("aaaa\0\0");
  });
});

describe.skipIf(whyNoKernelFaults)(`kernel faults (${whyNoKernelFaults ?? "allowed here"})`, () => {
  it("let system calls go through without a bracket", async () => {
    const world = hostWorld({ kernelFaults: true });
    const user = await world.addUser();
    world.map(0, 4);
    world.store(user, 2, 0x62626262);
    const path = filePath();
    const write = { path, start: at(0), bytes: bytesOf(4) };
    expect(world.do(user, WRITE_FILE, write)).toBe(bytesOf(4));
    expect(readFileSync(path, "latin1").indexOf("bbbb")).toBe(bytesOf(2));
  });
});

describe.skipIf(obstacle)("a window's CPU", () => {
  it("needs identity frames", () => {
    const world = hostWorld();
    const { memory } = buildWorld({ frames: 4 });
    const options = { onBadAccess: () => {} };
    expect(() => new HostCpu(new AddressSpace(memory), world.memory, options)).toThrow(
      /frame at its address/,
    );
  });
});
