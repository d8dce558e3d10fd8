/** Pages that are left to the host: what it gave without asking is found before anybody looks. */
import { closeSync, openSync, readSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { vpn } from "../../../src/base/index.ts";
import { whyNotHost } from "../../../src/cpu/index.ts";
import { madviseDontNeed, VM_READ } from "../../../src/mm/index.ts";
import { bytesOf } from "../test-world.ts";
import { at, type HostWorld, hostWorld, pageOf } from "./host-world.ts";

const obstacle = whyNotHost()?.reason;

/** Pages [page, page + count) are mapped and left to the host. */
function leave(world: HostWorld, page: number, count: number): void {
  world.map(page, count);
  world.cpu.leave!(pageOf(page), pageOf(page + count));
}

describe.skipIf(obstacle)(`pages left to the host (${obstacle ?? "served here"})`, () => {
  it("are touched without a fault, by user code and by system calls", async () => {
    const world = hostWorld({ kernelFaults: false });
    const user = await world.addUser();
    leave(world, 0, 64);
    user.begin("u32[a >>> 2] = 7; return u32[(a >>> 2) + 1024]", at(3));
    const answer = await new Promise((resolve) => {
      const look = () => {
        const said = user.answer();
        if (said === undefined) setTimeout(look, 1);
        else resolve(said);
      };
      look();
    });
    expect(answer).toMatchObject({ value: 0 });
    expect([world.memory.readFaults(), world.space.rssPages]).toEqual([0, 0]);
    const fd = openSync("/dev/zero", "r");
    // This thread serves the window; no fault of its own has to be served here.
    const view = new Uint8Array(world.wasm.buffer, at(20), bytesOf(10));
    expect(readSync(fd, view)).toBe(bytesOf(10));
    closeSync(fd);
    expect(world.cpu.unknownPages).toBe(1 + 1 + 10);
  });

  it("are found by a device, with what is in them, and nothing else is", async () => {
    const world = hostWorld({ kernelFaults: false });
    leave(world, 0, 64);
    new Uint32Array(world.wasm.buffer, at(5), 1)[0] = 55;
    new Uint32Array(world.wasm.buffer, at(6), 1)[0] = 66;
    expect(world.toDevice(5)).toBe(0);
    expect([world.space.rssPages, world.cpu.unknownPages]).toEqual([1, 1]);
    const user = await world.addUser();
    expect(world.load(user, 5)).toBe(55);
    expect(world.load(user, 6)).toBe(66);
    expect(world.cpu.unknownPages).toBe(1);
    // Nobody knows of page 6 yet; then a device reads it.
    expect(world.toDevice(6, 2)).toBe(0);
    expect(world.cpu.unknownPages).toBe(0);
    expect([world.load(user, 6), world.load(user, 7)]).toEqual([66, 0]);
  });

  it("keep their content when rights change, and lose it when they are unmapped", async () => {
    const world = hostWorld({ kernelFaults: false });
    const user = await world.addUser();
    leave(world, 0, 64);
    const words = new Uint32Array(world.wasm.buffer);
    for (let page = 0; page < 64; page++) words[at(page) >>> 2] = page + 1;
    expect(world.protect(10, 4, VM_READ)).toBe(0);
    expect(world.rights(9, 6)).toBe("leftrrrrleft");
    expect(world.load(user, 12)).toBe(13);
    expect(world.unmap(20, 8)).toBe(0);
    world.map(20, 8);
    expect(world.load(user, 22)).toBe(0);
    expect(world.load(user, 19)).toBe(20);
    expect(world.run(madviseDontNeed(world.space, at(30), bytesOf(4)))).toBe(0);
    expect([world.load(user, 31), world.load(user, 34)]).toEqual([0, 35]);
    // Known now: 10 to 13, and those that were loaded from watched pages.
    expect(world.cpu.unknownPages).toBe(64 - 4 - 8 - 4);
  });

  it("are all watched again where there would be too many pieces", async () => {
    const world = hostWorld({ kernelFaults: false, bytes: 2 ** 27 });
    const user = await world.addUser();
    world.map(0, 24_000);
    const words = new Uint32Array(world.wasm.buffer);
    for (let page = 0; page < 24_000; page += 2) {
      world.cpu.leave!(pageOf(page), pageOf(page + 1));
      if (page < 4000) words[at(page) >>> 2] = page + 1;
    }
    // Some are not left, but nothing is lost.
    for (const page of [0, 2000, 3998]) expect(world.load(user, page)).toBe(page + 1);
    world.cpu.catchUp(vpn(0), pageOf(24_000));
    expect([world.cpu.unknownPages, world.space.rssPages]).toEqual([0, 2000]);
  });

  it("do not exist where faults of system calls are served", (context) => {
    const world = hostWorld();
    if (!world.cpu.kernelFaults) return context.skip("they are not served here");
    expect(world.cpu.leave).toBeUndefined();
  });
});
