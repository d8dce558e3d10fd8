/**
 * Random programs: a user thread loads and stores while mappings, rights, places and brackets
 * change. After every step the hardware (as Linux tells it) allows no more than the page table,
 * and every load sees what was stored last.
 */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { EFAULT, vpn } from "../../../src/base/index.ts";
import { type Bracket, whyNotHost } from "../../../src/cpu/index.ts";
import { VM_READ } from "../../../src/mm/index.ts";
import { replayable } from "../../replay/replay.ts";
import { RW } from "../test-world.ts";
import type { User } from "./host-user.ts";
import { at, HostWorld, pageOf } from "./host-world.ts";

const obstacle = whyNotHost();
const PAGES = 24;
const NOT_MAPPED = -1;

interface Span {
  readonly page: number;
  readonly count: number;
}
type Change =
  | (Span & { readonly act: "map" | "protect"; readonly access: number })
  | (Span & { readonly act: "unmap" | "toDevice" | "drop" | "bracket" });
type Touch = { readonly act: "load" | "store"; readonly page: number };
type Step = Change | Touch | { readonly act: "close" };

const page = fc.nat(PAGES - 1);
const count = fc.integer({ min: 1, max: 8 });
const access = fc.constantFrom(RW, RW, VM_READ, 0);
const act = <Name extends string>(...names: Name[]) => fc.constantFrom(...names);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ act: act("map", "protect"), page, count, access }) },
  {
    weight: 4,
    arbitrary: fc.record({ act: act("unmap", "toDevice", "drop", "bracket"), page, count }),
  },
  { weight: 8, arbitrary: fc.record({ act: act("load", "store"), page }) },
  { weight: 1, arbitrary: fc.record({ act: act("close") }) },
);

/** What the program should see, and the program. */
class Model {
  readonly world: HostWorld;
  readonly user: User;
  // page -> rights, or that nothing is mapped
  readonly access = new Int8Array(PAGES).fill(NOT_MAPPED);
  readonly values = new Uint32Array(PAGES);
  readonly brackets: Bracket[] = [];
  #stored = 0;

  constructor(world: HostWorld, user: User) {
    this.world = world;
    this.user = user;
  }

  run(step: Step): void {
    if ("count" in step) this.#change(step);
    else if ("page" in step) this.#touch(step.page, step.act === "store");
    else this.#close();
  }

  #change(step: Change): void {
    const { page } = step;
    const count = Math.min(step.count, PAGES - page);
    if (step.act === "map") this.#map(page, count, step.access);
    else if (step.act === "protect") this.#protect(page, count, step.access);
    else if (step.act === "unmap") this.#unmap(page, count);
    else if (step.act === "bracket") this.#bracket(page, count);
    else if (step.act === "toDevice") this.world.toDevice(page, count);
    // What the host may do by itself when it runs out of memory.
    else this.world.memory.revoke(pageOf(page), pageOf(page + count));
  }

  #close(): void {
    const pinned = this.brackets.pop();
    if (pinned !== undefined) this.world.brackets.close(pinned);
  }

  #touch(page: number, write: boolean): void {
    const { world, user } = this;
    const value = ++this.#stored;
    const old = this.values[page];
    const body = write ? "const old = u32[a[0]]; u32[a[0]] = a[1]; return old" : "return u32[a[0]]";
    const need = write ? RW : VM_READ;
    user.begin(body, [at(page) >>> 2, value]);
    const isMapped = this.access[page] !== NOT_MAPPED;
    if (!isMapped || (this.access[page]! & need) !== need) {
      world.serveUntil(() => world.bad.length > 0);
      expect(world.bad.pop()).toMatchObject({ page: pageOf(page), result: -EFAULT });
      // The program makes it legal, so that the thread can go on.
      if (isMapped) world.protect(page, 1, RW);
      else world.map(page, 1, RW);
      this.access[page] = RW;
      world.memory.wake(pageOf(page), pageOf(page + 1));
    }
    expect(world.end(user)).toBe(old);
    if (write) this.values[page] = value;
    expect([...world.cpu.waiting]).toEqual([]);
  }

  #map(page: number, count: number, access: number): void {
    const end = page + count;
    for (let i = page; i < end; i++) if (this.access[i] !== NOT_MAPPED) return;
    this.world.map(page, count, access);
    this.access.fill(access, page, end);
    this.values.fill(0, page, end);
  }

  #protect(page: number, count: number, access: number): void {
    if (this.#hasBracket(page, count)) return;
    // As far as the first hole.
    let end = page;
    while (end < page + count && this.access[end] !== NOT_MAPPED) end++;
    if (end === page) return;
    expect(this.world.protect(page, end - page, access)).toBe(0);
    this.access.fill(access, page, end);
  }

  #unmap(page: number, count: number): void {
    const end = page + count;
    if (this.#hasBracket(page, count)) return;
    expect(this.world.unmap(page, count)).toBe(0);
    this.access.fill(NOT_MAPPED, page, end);
    this.values.fill(0, page, end);
  }

  #bracket(page: number, count: number): void {
    const isWritable = this.access.subarray(page, page + count).every((access) => access === RW);
    const pinned = this.world.access(page, count, true);
    expect(typeof pinned === "object").toBe(isWritable);
    if (typeof pinned === "object") this.brackets.push(pinned);
  }

  #hasBracket(page: number, count: number): boolean {
    const end = vpn(pageOf(page) + count);
    return this.world.brackets.find(pageOf(page), end) !== undefined;
  }
}

async function runProgram(steps: readonly Step[], around: number): Promise<void> {
  const world = new HostWorld({ bytes: 2 ** 21, around, deviceFrames: 16 });
  let hasFailed = true;
  try {
    const model = new Model(world, await world.addUser());
    for (const step of steps) {
      model.run(step);
      world.check();
    }
    for (const pinned of model.brackets) world.brackets.close(pinned);
    hasFailed = false;
  } finally {
    await world.over(hasFailed);
  }
}

describe.skipIf(obstacle)(`random programs (${obstacle?.reason ?? "served here"})`, () => {
  it("see what they stored, and the hardware allows no more than the page table", async () => {
    const program = fc.array(step, { minLength: 30, maxLength: 60 });
    const around = fc.constantFrom(1, 4, 16);
    const property = fc.asyncProperty(program, around, runProgram);
    await fc.assert(property, replayable("host-cpu", { seed: 20_261_121, numRuns: 20 }));
  });
});
