/** How many pages one fault serves, and what the host may drop behind our back. */
import { closeSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { describe, expect, it } from "vitest";
import { ENOMEM, vpn } from "../../../src/base/index.ts";
import { whyNotHost } from "../../../src/cpu/index.ts";
import { VM_READ } from "../../../src/mm/index.ts";
import { RW } from "../test-world.ts";
import type { User } from "./host-user.ts";
import {
  at,
  FIRST,
  type HostWorld,
  type HostWorldOptions,
  hostWorld,
  pageOf,
} from "./host-world.ts";

const obstacle = whyNotHost();

async function start(options: HostWorldOptions = {}): Promise<[HostWorld, User]> {
  const world = hostWorld({ around: 16, ...options });
  return [world, await world.addUser()];
}

/** Every page is in RAM, none is installed. */
function touched(world: HostWorld, user: User, count: number): void {
  world.map(0, count);
  for (let page = 0; page < count; page++) world.store(user, page, 100 + page);
  world.protect(0, count, 0);
  world.protect(0, count, RW);
  expect(world.rights(0, count)).toBe("-".repeat(count));
}

describe.skipIf(obstacle)(`fault-around (${obstacle?.reason ?? "served here"})`, () => {
  it("makes the aligned block of a page that is written first, and maps it in one call", async () => {
    const [world, user] = await start();
    world.map(0, 40);
    world.store(user, 21, 7);
    expect(world.rights(0, 40)).toBe("-".repeat(16) + "w".repeat(16) + "-".repeat(8));
    expect(world.memory.calls).toMatchObject({ install: 2, populate: 1 });
    const { install } = world.memory.calls;
    for (const page of [16, 31]) world.store(user, page, 8);
    expect(world.memory.calls.install).toBe(install);
    world.check();
  });

  it("stays within the mapping", async () => {
    const [world, user] = await start();
    world.map(3, 4);
    world.map(9, 2, VM_READ);
    world.store(user, 4, 7);
    expect(world.rights(0, 16)).toBe("---wwww---------");
  });

  it("stops where memory is limited, after the page itself", async () => {
    const [world, user] = await start({ limitPages: 4 });
    world.map(0, 16);
    world.store(user, 8, 7);
    expect([world.rights(0, 16), world.bad]).toEqual(["www-----w-------", []]);
  });

  it("reads one page of zeros, for nobody asked for more", async () => {
    const [world, user] = await start();
    world.map(0, 16);
    world.load(user, 5);
    expect(world.rights(0, 16)).toBe("-----r----------");
    world.store(user, 4, 7);
    expect(world.rights(0, 16)).toBe("wwwwwrwwwwwwwwww");
    world.check();
  });

  it("maps neighbours that are in RAM, whatever the fault was", async () => {
    const [world, user] = await start();
    touched(world, user, 32);
    const { install } = world.memory.calls;
    expect(world.load(user, 5)).toBe(105);
    expect(world.rights(0, 32)).toBe("w".repeat(16) + "-".repeat(16));
    expect(world.memory.calls.install).toBe(install + 1);
    expect(world.load(user, 15)).toBe(115);
  });

  it("maps what is left when some of the block is elsewhere", async () => {
    const [world, user] = await start();
    touched(world, user, 16);
    world.toDevice(4, 2);
    world.protect(8, 4, VM_READ);
    expect(world.load(user, 0)).toBe(100);
    expect(world.rights(0, 16)).toBe("wwww--wwrrrrwwww");
    expect(world.load(user, 4)).toBe(104);
    expect(world.load(user, 9)).toBe(109);
    world.check();
  });

  it("is as large as was asked, a power of two", async () => {
    const [world, user] = await start({ around: 4 });
    world.map(0, 16);
    world.store(user, 6, 7);
    expect(world.rights(0, 16)).toBe("----wwww--------");
    expect(() => hostWorld({ around: 3 })).toThrow(/power of two/);
  });

  it("ends with the window", async () => {
    const [world, user] = await start({ around: 512, bytes: 2 ** 21 });
    world.map(0, 256);
    world.store(user, 255, 7);
    expect(world.rights(0, 256)).toBe("w".repeat(256));
  });
});

/** The host has no page left for this window: its file is one of huge pages, of which none are. */
function exhaust({ memory }: HostWorld): void {
  const koffi = createRequire(import.meta.url)("koffi") as typeof import("koffi");
  const libc = koffi.load(null);
  const create = libc.func("memfd_create", "int", ["str", "uint"]);
  const truncate = libc.func("ftruncate", "int", ["int", "long"]);
  const dup3 = libc.func("dup3", "int", ["int", "int", "int"]);
  const fd = create("none", 1 | 4) as number;
  expect(truncate(fd, memory.buffer.byteLength)).toBe(0);
  expect(dup3(fd, memory.mappings.memfd, 0o2000000)).toBe(memory.mappings.memfd);
  closeSync(fd);
}

function hugePages(): number {
  try {
    return Number(readFileSync("/proc/sys/vm/nr_hugepages", "utf8"));
  } catch {
    return -1;
  }
}

describe.skipIf(obstacle !== undefined || hugePages() !== 0)("a host without memory", () => {
  it("makes an access a bad one, and nobody believes that something was mapped", async () => {
    const [world, user] = await start();
    world.map(16, 16);
    // The file has these two already: they can be mapped, what follows cannot be made.
    world.memory.install(pageOf(16), pageOf(18), true);
    world.memory.revoke(pageOf(16), pageOf(18));
    exhaust(world);
    user.begin("u32[a >>> 2] = 1", at(20));
    world.serveUntil(() => world.bad.length > 0);
    expect(world.bad[0]).toMatchObject({ page: pageOf(20), result: -ENOMEM });
    expect([world.rights(16, 16), [...world.cpu.waiting].length]).toEqual(["-".repeat(16), 1]);
    expect(world.access(20, 1, true)).toBe(-ENOMEM);
    expect(world.brackets.count).toBe(0);
    world.check();
  });
});

describe.skipIf(obstacle)("a mapping that the host has dropped", () => {
  it("is made again at the next fault", async () => {
    const [world, user] = await start();
    world.map(0, 3);
    world.store(user, 1, 7);
    world.memory.revoke(FIRST, pageOf(3));
    expect([world.load(user, 1), world.rights(0, 3)]).toEqual([7, "www"]);
    world.store(user, 2, 8);
    expect([world.word(2), world.load(user, 0)]).toEqual([8, 0]);
    world.check();
  });

  it("or write-protected is made again, too", async () => {
    const [world, user] = await start({ around: 1 });
    world.map(0, 1);
    world.store(user, 0, 7);
    world.memory.protect(FIRST, pageOf(1));
    world.store(user, 0, 8);
    expect([world.word(0), world.rights(0), world.memory.calls.unprotect]).toEqual([8, "w", 1]);
  });

  it("and made again by somebody else wakes the thread all the same", async () => {
    const [world, user] = await start({ around: 1 });
    world.map(0, 1);
    world.store(user, 0, 7);
    world.memory.revoke(FIRST, vpn(FIRST + 1));
    user.begin("return u32[a >>> 2]", FIRST * 4096);
    world.memory.poll(1000);
    world.memory.install(FIRST, vpn(FIRST + 1), true);
    expect(world.end(user)).toBe(7);
  });
});
