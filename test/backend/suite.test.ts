/** One suite for every CPU backend: what a program sees is the same. */

import fc from "fast-check";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { PAGE_SIZE } from "../../src/base/index.ts";
import { whyNoDevice } from "../driver/webgpu-machine.ts";
import { replayable } from "../replay/replay.ts";
import { BACKENDS, type Backend, type TestCpu } from "./backends.ts";
import { commands, REFUSED, runCommands } from "./random-program.ts";

const AREA = 0x2000_0000;
const pages = (count: number): number => count * PAGE_SIZE;

describe.each(BACKENDS)("the CPU backend $name", (backend: Backend) => {
  let obstacle: string | undefined;
  let noDevice: string | undefined;
  let cpu: TestCpu | undefined;

  beforeAll(async () => {
    obstacle = await backend.whyNot();
    noDevice = backend.name === "soft" ? undefined : await whyNoDevice();
  });

  afterEach(async () => {
    const used = cpu;
    cpu = undefined;
    used?.check();
    await used?.close();
  });

  /** Runs with a fresh space, or says why it cannot. */
  const on = (title: string, devicePages: number, body: (cpu: TestCpu) => Promise<void>): void => {
    it(title, async (context) => {
      const reason = obstacle ?? (devicePages > 0 ? noDevice : undefined);
      if (reason !== undefined) return context.skip(reason);
      cpu = await backend.open(devicePages);
      await body(cpu);
    });
  };

  on("gives zeros where nothing was stored, and what was stored", 0, async (cpu) => {
    const at = await cpu.map(pages(40));
    expect(await cpu.load(at + pages(7))).toBe(0);
    for (let page = 0; page < 40; page++) await cpu.store(at + pages(page) + 4 * page, page + 1);
    for (let page = 0; page < 40; page++) {
      expect(await cpu.load(at + pages(page) + 4 * page)).toBe(page + 1);
      expect(await cpu.load(at + pages(page) + 4092)).toBe(0);
    }
    expect(await cpu.load(at + pages(7))).toBe(0);
  });

  on("reaches from the lowest to the highest page of the space", 0, async (cpu) => {
    for (const address of [0x1_0000, 0xffff_f000]) {
      expect(await cpu.map(pages(1), "rw", address)).toBe(address);
      await cpu.store(address + 4092, 77);
      expect(await cpu.load(address + 4092)).toBe(77);
    }
  });

  on("refuses what is not mapped, and what rights do not allow", 0, async (cpu) => {
    const at = await cpu.map(pages(3), "rw", AREA);
    await cpu.store(at, 5);
    await cpu.protect(at, pages(1), "r");
    await cpu.protect(at + pages(1), pages(1), "none");
    expect(await cpu.load(at)).toBe(5);
    expect(await cpu.refusal(at, true)).toBe("EFAULT");
    expect(await cpu.refusal(at + pages(1), false)).toBe("EFAULT");
    expect(await cpu.refusal(at + pages(2), true)).toBe("none");
    expect(await cpu.refusal(at + pages(3), false)).toBe("EFAULT");
    expect(await cpu.refusal(0, false)).toBe("EFAULT");
    await cpu.protect(at, pages(2), "rw");
    await cpu.store(at, 6);
    await cpu.store(at + pages(1), 7);
    expect([await cpu.load(at), await cpu.load(at + pages(1))]).toEqual([6, 7]);
  });

  on("keeps what was stored while rights come and go", 0, async (cpu) => {
    const at = await cpu.map(pages(32));
    for (let page = 0; page < 32; page++) await cpu.store(at + pages(page), page + 100);
    for (const rights of ["none", "r", "rw", "r", "rw"] as const) {
      await cpu.protect(at, pages(32), rights);
    }
    for (let page = 0; page < 32; page++) {
      expect(await cpu.load(at + pages(page))).toBe(page + 100);
      await cpu.store(at + pages(page), page);
    }
    expect(await cpu.load(at + pages(31))).toBe(31);
  });

  on("forgets what is unmapped or discarded", 0, async (cpu) => {
    const at = await cpu.map(pages(4), "rw", AREA);
    for (let page = 0; page < 4; page++) await cpu.store(at + pages(page), 9);
    await cpu.unmap(at + pages(1), pages(1));
    await cpu.discard(at + pages(2), pages(1));
    expect(await cpu.refusal(at + pages(1), false)).toBe("EFAULT");
    await cpu.map(pages(1), "rw", at + pages(1));
    const loads = [0, 1, 2, 3].map((page) => cpu.load(at + pages(page)));
    expect(await Promise.all(loads)).toEqual([9, 0, 0, 9]);
    await expect(cpu.map(pages(1), "rw", at)).rejects.toThrow("EEXIST");
  });

  on("holds thousands of mappings", 0, async (cpu) => {
    const count = 3000;
    for (let i = 0; i < count; i++) {
      const at = AREA + pages(2 * i);
      await cpu.map(pages(1), "rw", at);
      if (i % 7 === 0) await cpu.store(at, i);
    }
    for (let i = 0; i < count; i += 7) expect(await cpu.load(AREA + pages(2 * i))).toBe(i);
    for (let i = 0; i < count; i += 2) await cpu.unmap(AREA + pages(2 * i), pages(1));
    expect(await cpu.load(AREA + pages(2 * 7))).toBe(7);
    expect(await cpu.refusal(AREA + pages(2 * 14), false)).toBe("EFAULT");
  });

  on("sees what the device made of what it stored, and the device its stores", 64, async (cpu) => {
    const at = await cpu.map(pages(4));
    for (let i = 0; i < 4096; i += 64) await cpu.store(at + 4 * i, i);
    await cpu.deviceAdd(at, 4096, 1000);
    expect(await cpu.load(at + 4 * 64)).toBe(1064);
    expect(await cpu.load(at + 4 * 65)).toBe(1000);
    await cpu.store(at + 4 * 64, 1);
    await cpu.deviceAdd(at + 4 * 64, 1, 1);
    expect(await cpu.load(at + 4 * 64)).toBe(2);
    expect(await cpu.load(at + 4 * 4095)).toBe(1000);
  });

  on("loses nothing when CPU and device take turns on one page", 64, async (cpu) => {
    const at = await cpu.map(pages(1));
    for (let turn = 0; turn < 30; turn++) {
      await cpu.store(at + 4 * turn, turn);
      await cpu.deviceAdd(at, 30, 1);
      cpu.check();
    }
    const words = Array.from({ length: 30 }, (_, i) => cpu.load(at + 4 * i));
    // The word of turn i was i when 30 - i turns of the device were still to come.
    expect(await Promise.all(words)).toEqual(Array.from({ length: 30 }, () => 30));
  });

  on("works on more than the device can hold", 64, async (cpu) => {
    const count = 200;
    const at = await cpu.map(pages(count));
    for (let page = 0; page < count; page++) await cpu.store(at + pages(page), page);
    for (let page = 0; page < count; page += 40) {
      await cpu.deviceAdd(at + pages(page), 40 * 1024, 10);
    }
    for (let page = 0; page < count; page++) {
      expect(await cpu.load(at + pages(page))).toBe(page + 10);
      expect(await cpu.load(at + pages(page) + 4092)).toBe(10);
    }
  });

  on("refuses to the device what it refuses to the program", 64, async (cpu) => {
    const at = await cpu.map(pages(2), "rw", AREA);
    await cpu.store(at, 1);
    await cpu.protect(at, pages(1), "r");
    await expect(cpu.deviceAdd(at, 1, 1)).rejects.toThrow(REFUSED);
    await expect(cpu.deviceAdd(at + pages(2), 1, 1)).rejects.toThrow(REFUSED);
    expect(await cpu.load(at)).toBe(1);
    await cpu.protect(at, pages(1), "rw");
    await cpu.deviceAdd(at, 1, 1);
    expect(await cpu.load(at)).toBe(2);
  });

  on("agrees with a model of plain words, whatever is done in which order", 64, async (cpu) => {
    await fc.assert(
      fc.asyncProperty(commands, async (program) => {
        await runCommands(cpu, program, AREA);
      }),
      replayable("backend", { numRuns: 25, seed: 11 }),
    );
  });
});
