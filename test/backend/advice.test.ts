/** What programs advise: nothing changes but where pages are, and when they move. */
import { describe, expect, it } from "vitest";
import { Machine, ptr, u32, whyNotHost } from "../../src/machine/index.ts";

const PAGE = 4096;
const WORDS = PAGE / 4;

const COPY = {
  args: { input: ptr(u32), out: ptr(u32) },
  code: "fn main(i: u32) { store_u32(args.out + 4u * i, load_u32(args.input + 4u * i) + 1u); }",
} as const;
const COUNT_UP = {
  args: { out: ptr(u32) },
  code: `fn main(i: u32) {
    let at = args.out + ${PAGE}u * i;
    store_u32(at, load_u32(at) + 1u);
  }`,
} as const;
/** Goes where no argument points, as far as the launch is told. */
const LOOK_AT = {
  args: { at: u32, out: ptr(u32) },
  code: "fn main(i: u32) { store_u32(args.out, load_u32(args.at)); }",
} as const;

describe.each(["scoped", "host"] as const)("advice, with CPU backend %s", (cpu) => {
  const isAbsent = cpu === "host" && whyNotHost() !== undefined;
  const newMachine = (pages = 256) => Machine.create({ cpu, deviceMemory: pages * PAGE });

  /** `pages` pages, the first word of each its number. */
  async function filled({ space }: Machine, pages: number) {
    const start = await space.mmap({ bytes: pages * PAGE });
    await using held = await space.access({ start, bytes: pages * PAGE }, "write");
    for (let page = 0; page < pages; page++) held.u32[page * WORDS] = page;
    return { start, bytes: pages * PAGE };
  }

  async function firstWords({ space }: Machine, range: { start: number; bytes: number }) {
    await using held = await space.access(range, "read");
    return Array.from({ length: range.bytes / PAGE }, (_, page) => held.u32[page * WORDS]!);
  }

  it.skipIf(isAbsent)(
    "readMostly: what a kernel wrote stays there when it is read here",
    async () => {
      await using machine = await newMachine();
      const { space } = machine;
      const range = await filled(machine, 32);
      await space.advise(range, { readMostly: true });
      const kernel = machine.kernel(COUNT_UP);
      for (let run = 1; run <= 3; run++) {
        const report = await kernel.run(32, { out: range.start });
        // The first time they have to come; later the copies become the pages.
        if (run > 1) expect([report.pagesToDevice, report.copiesKept]).toEqual([0, 32]);
        machine.check();
        const { bytesHome } = machine.report;
        const words = await firstWords(machine, range);
        expect(words).toEqual(words.map((_, page) => page + run));
        expect(machine.report.bytesHome - bytesHome).toBe(32 * PAGE);
        machine.check();
      }
      // A write here ends it.
      {
        await using held = await space.access(range, "write");
        held.u32[0] = 100;
      }
      machine.check();
      const report = await kernel.run(32, { out: range.start });
      expect([report.pagesToDevice, report.copiesKept]).toEqual([32, 0]);
      expect((await firstWords(machine, range))[0]).toBe(101);
      machine.check();
    },
  );

  it.skipIf(isAbsent)("readMostly: of all that reads, by whatever call", async () => {
    await using machine = await newMachine();
    const { space } = machine;
    const range = await filled(machine, 16);
    await space.advise(range, { readMostly: true });
    const kernel = machine.kernel(COUNT_UP);
    const reads = {
      populate: () => space.populate(range, "read"),
      prefetch: () => space.prefetch(range, "cpu"),
      ...(cpu === "host" && { touch: async () => space.u32[range.start / 4] }),
    };
    for (const [name, read] of Object.entries(reads)) {
      await space.discard(range.start, range.bytes);
      await kernel.run(16, { out: range.start });
      await read();
      machine.check();
      const { copiesKept, pagesToDevice } = await kernel.run(16, { out: range.start });
      expect({ name, copiesKept, pagesToDevice }).toEqual({
        name,
        copiesKept: 16,
        pagesToDevice: 0,
      });
      await space.populate(range, "write");
      machine.check();
      expect([name, (await kernel.run(16, { out: range.start })).copiesKept]).toEqual([name, 0]);
    }
  });

  it.skipIf(isAbsent)("accessedBy and preferred bring what no argument points to", async () => {
    for (const advice of [{ accessedBy: "device" }, { preferred: "device" }] as const) {
      await using machine = await newMachine();
      const { space } = machine;
      const range = await filled(machine, 40);
      const out = space.array(u32, WORDS);
      await space.advise({ start: range.start + 100, bytes: 39 * PAGE - 100 }, advice);
      const kernel = machine.kernel(LOOK_AT);
      const look = (page: number) => kernel.run(1, { at: range.start + page * PAGE, out });
      expect((await look(7)).pagesAdvised).toBe(39);
      expect((await look(38)).faults).toBe(0);
      // Whoever writes them finds them there again in the next launch.
      await (await space.access({ start: range.start, bytes: 5 * PAGE }, "write")).close();
      const again = await look(3);
      expect([again.pagesAdvised, again.pagesToDevice, again.faults]).toEqual([5, 5, 0]);
      await space.advise(range, { preferred: "none", accessedBy: "none" });
      await (await space.access({ start: range.start, bytes: PAGE }, "write")).close();
      expect((await look(3)).pagesAdvised).toBe(0);
      machine.check();
    }
  });

  it.skipIf(isAbsent)("preferred cpu: what a kernel wrote is here when it ends", async () => {
    await using machine = await newMachine();
    const { space } = machine;
    const [input, out] = [await filled(machine, 20), await filled(machine, 20)];
    await space.advise(out, { preferred: "cpu" });
    await machine.kernel(COPY).run(20 * WORDS, { input: input.start, out: out.start });
    const { bytesHome } = machine.report;
    expect(bytesHome).toBe(20 * PAGE);
    expect(await firstWords(machine, out)).toEqual(Array.from({ length: 20 }, (_, i) => i + 1));
    expect(machine.report.bytesHome).toBe(bytesHome);
    machine.check();
  });

  it.skipIf(isAbsent)("decides who makes room", async () => {
    for (const [advice, left] of [
      [{ preferred: "device" }, 16],
      [{}, 0],
    ] as const) {
      await using machine = await newMachine(64);
      const { space } = machine;
      const precious = await filled(machine, 16);
      const others = await filled(machine, 120);
      await space.advise(precious, advice);
      await space.prefetch(precious, "device");
      for (let page = 0; page < 120; page += 40) {
        const part = { start: others.start + page * PAGE, bytes: 40 * PAGE };
        await space.prefetch(part, "device");
      }
      machine.check();
      // What is there need not come.
      expect(await space.prefetch(precious, "device")).toBe((16 - left) * PAGE);
    }
  });

  it.skipIf(isAbsent)("readMostly brings the neighbourhood of what is read", async () => {
    const faults: number[] = [];
    for (const readMostly of [false, true]) {
      await using machine = await newMachine(2048);
      const { space } = machine;
      const range = await filled(machine, 1024);
      const out = space.array(u32, WORDS);
      await space.advise(range, { readMostly });
      const kernel = machine.kernel(LOOK_AT);
      let sum = 0;
      for (const page of [10, 400, 100, 200]) {
        sum += (await kernel.run(1, { at: range.start + page * PAGE, out })).faults;
      }
      faults.push(sum);
      machine.check();
    }
    expect(faults[1]).toBeLessThan(faults[0]!);
  });

  it.skipIf(isAbsent)("is of pages, and is shown", async () => {
    await using machine = await newMachine();
    const { space } = machine;
    const { start } = await filled(machine, 8);
    await space.advise({ start: start + 2 * PAGE + 8, bytes: PAGE }, { readMostly: true });
    await space.advise({ start, bytes: 8 * PAGE }, { preferred: "device", accessedBy: "device" });
    const shown = () =>
      machine
        .dump()
        .split("\n")
        .map((line) => line.match(/\S*(read-mostly|preferred|accessed)\S*/)?.[0])
        .filter((advice) => advice !== undefined);
    expect(shown()).toEqual([
      "preferred-device,accessed-by-device",
      "read-mostly,preferred-device,accessed-by-device",
      "preferred-device,accessed-by-device",
    ]);
    await space.munmap(start + 3 * PAGE, 5 * PAGE);
    await space.mprotect(start, PAGE, "r");
    expect(shown()).toHaveLength(3);
    await space.advise({ start, bytes: 3 * PAGE }, { preferred: "none", accessedBy: "none" });
    expect(shown()).toEqual(["read-mostly"]);
    await space.mmap({ bytes: 5 * PAGE, address: start + 3 * PAGE });
    expect(shown()).toEqual(["read-mostly"]);
    machine.check();
  });

  it.skipIf(isAbsent)("refuses what is none", async () => {
    await using machine = await Machine.create({ cpu, device: "none" });
    const { space } = machine;
    const start = await space.mmap({ bytes: 3 * PAGE });
    await space.munmap(start + PAGE, PAGE);
    const advise = (advice: unknown, bytes = PAGE) =>
      space.advise({ start, bytes }, advice as { readMostly: boolean });
    await advise({ readMostly: true });
    await advise({});
    await advise({ preferred: "cpu" }, 0);
    await expect(advise({ preferred: "gpu" })).rejects.toThrow(
      'preferred must be "device" or "cpu" or "none", got "gpu"',
    );
    await expect(advise({ readMostly: 1 })).rejects.toThrow("must be true or false, got 1");
    await expect(advise({ accessedBy: "cpu" })).rejects.toMatchObject({ code: "EINVAL" });
    await expect(advise({ readmostly: true })).rejects.toThrow("readmostly");
    await expect(advise({ readMostly: true }, 3 * PAGE)).rejects.toMatchObject({
      code: "ENOMEM",
      call: "advise",
    });
    machine.check();
  });

  it.skipIf(isAbsent)("ends with the block that it was given to", async () => {
    await using machine = await newMachine();
    const { space } = machine;
    const words = 64 * WORDS;
    const block = space.array(u32, words);
    await space.advise(block, { preferred: "cpu" });
    expect(machine.dump()).toContain("preferred-cpu");
    space.free(block.address);
    expect(machine.dump()).not.toContain("preferred-cpu");
    machine.check();
  });
});
