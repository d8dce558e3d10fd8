/** Many threads and many mappings in one window. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { PAGE_SIZE } from "../../../src/base/index.ts";
import { whyNotHost } from "../../../src/cpu/index.ts";
import { protectForCopies } from "../../../src/devmem/index.ts";
import { VM_READ } from "../../../src/mm/index.ts";
import type { Sleeps } from "../../../src/sync/index.ts";
import { RW } from "../test-world.ts";
import { at, type HostWorld, hostWorld, pageOf } from "./host-world.ts";

const obstacle = whyNotHost();
const PAGES = 24;
const MOVES = 400;

/** Until told to stop: adds to a word that all threads share and to one of its own, in random pages. */
const COUNT = `
  let seed = a.id * 77 + 1;
  let rounds = 0;
  for (; Atomics.load(control, 1) === 0; rounds++) {
    seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
    const word = (a.start + ((seed >>> 8) % a.pages) * 4096) >>> 2;
    Atomics.add(i32, word + 1, 1);
    u32[word + 8 + a.id]++;
  }
  return rounds;
`;

/** Write-protects a page as for a device that reads a copy of it. */
function* protectPage({ space, mirror, world }: HostWorld, page: number): Sleeps<number> {
  using _mmap = yield* space.mmapLock.acquireRead();
  const end = pageOf(page + 1);
  return yield* protectForCopies(space, pageOf(page), end, { world, mirror });
}

describe.skipIf(obstacle)(`three threads (${obstacle?.reason ?? "served here"})`, () => {
  it("lose no update while every page goes away again and again", async () => {
    const world = hostWorld({ around: 4, deviceFrames: PAGES });
    const users = [await world.addUser(), await world.addUser(), await world.addUser()];
    world.map(0, PAGES);
    for (const [id, user] of users.entries()) {
      user.begin(COUNT, { id, start: at(0), pages: PAGES });
    }
    const { calls } = world.memory;
    let moved = 0;
    for (let turns = 0; moved < MOVES || calls.protect < MOVES; turns++) {
      const page = turns % PAGES;
      const wasHere = world.rights(page) !== "-";
      if (world.toDevice(page) === 0 && wasHere && world.rights(page) === "-") moved++;
      world.run(protectPage(world, (page * 7) % PAGES));
      for (let i = 0; i < 8; i++) world.turn(0);
    }
    for (const user of users) Atomics.store(user.control, 1, 1);
    const rounds = users.map((user) => world.end(user) as number);
    const sums = [0, 0, 0, 0];
    for (let page = 0; page < PAGES; page++) {
      world.brackets.close(world.open(page, 1, false));
      for (const [i, offset] of [1, 8, 9, 10].entries()) {
        sums[i]! += world.words[(at(page) >>> 2) + offset]!;
      }
    }
    expect(sums).toEqual([rounds[0]! + rounds[1]! + rounds[2]!, ...rounds]);
    expect(rounds.every((each) => each > MOVES)).toBe(true);
  });

  it("that wait for one page are served by one fault", async () => {
    const world = hostWorld();
    const users = [await world.addUser(), await world.addUser(), await world.addUser()];
    world.map(0, 1);
    for (const [i, user] of users.entries()) user.begin("u32[a >>> 2] = 1", at(0) + i * 4);
    // All three are in the fault before anybody looks.
    await new Promise((resolve) => setTimeout(resolve, 50));
    const before = world.world.tracer.count("mm:fault");
    expect(world.turn()).toBe(3);
    for (const user of users) world.end(user);
    expect(world.world.tracer.count("mm:fault")).toBe(before + 1);
    expect(world.memory.calls.install).toBe(2);
  });

  it("that are stuck go on when the window is closed", async () => {
    const world = hostWorld();
    const users = [await world.addUser(), await world.addUser(), await world.addUser()];
    world.map(0, 1);
    world.store(users[0]!, 0, 1);
    for (const [i, user] of users.entries()) user.begin("return u32[a >>> 2] = 3", at(1 + i));
    // Some of them were told to be bad, some were perhaps never read.
    world.serveUntil(() => world.bad.length > 0);
    world.memory.close();
    for (const user of users) {
      const deadline = performance.now() + 5000;
      let answer = user.answer();
      while (answer === undefined && performance.now() < deadline) {
        await new Promise((resolve) => setImmediate(resolve));
        answer = user.answer();
      }
      expect(answer).toEqual({ value: 3 });
    }
    // What the engine takes away later is nobody's any more.
    expect([world.rights(0), world.protect(0, 1, VM_READ)]).toEqual(["w", 0]);
  });
});

describe.skipIf(obstacle)("thousands of mappings", () => {
  it("are one mapping of the host", async () => {
    const world = hostWorld({ bytes: 2 ** 26 });
    const user = await world.addUser();
    const count = 3000;
    for (let i = 0; i < count; i++) world.map(i * 3, 2, i % 2 === 0 ? RW : VM_READ);
    expect(world.space.vmas.all).toHaveLength(count);
    const sum = `
      let sum = 0;
      for (let i = 0; i < a.count; i++) {
        const word = (a.start + i * 3 * 4096) >>> 2;
        if (i % 2 === 0) u32[word] = i;
        sum += u32[word] + u32[word + 1024];
      }
      return sum;
    `;
    const even = (count / 2) * (count / 2 - 1);
    expect(world.do(user, sum, { count, start: at(0) })).toBe(even);
    world.check();
    const maps = readFileSync("/proc/self/maps", "utf8").match(/memfd:onespace/g);
    expect(maps).toHaveLength(2);
    for (let i = 0; i < count; i += 2) expect(world.unmap(i * 3, 2)).toBe(0);
    world.check();
    const still = world.words.subarray(at(0) >>> 2, (at(0) + count * 3 * PAGE_SIZE) >>> 2);
    expect(still.every((word) => word === 0)).toBe(true);
  });
});
