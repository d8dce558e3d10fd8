/** Memory and kernels that are there beforehand: hints, which change nothing but the waiting. */
import { describe, expect, it } from "vitest";
import { Machine, ptr, u32, whyNotHost } from "../../src/machine/index.ts";

const PAGE = 4096;
const WORDS = PAGE / 4;

const COPY = {
  args: { input: ptr(u32), out: ptr(u32) },
  code: "fn main(i: u32) { store_u32(args.out + 4u * i, load_u32(args.input + 4u * i) + 1u); }",
} as const;

describe.each(["scoped", "host"] as const)("a prefetch, with CPU backend %s", (cpu) => {
  const isAbsent = cpu === "host" && whyNotHost() !== undefined;
  const newMachine = (pages = 256) => Machine.create({ cpu, deviceMemory: pages * PAGE });

  /** `pages` pages, the first word of each its number. */
  async function filled({ space }: Machine, pages: number) {
    const array = space.array(u32, pages * WORDS);
    await using held = await space.access(array, "write");
    for (let page = 0; page < pages; page++) held.u32[page * WORDS] = page;
    return array;
  }

  it.skipIf(isAbsent)("to the device leaves a launch nothing to fault on", async () => {
    await using machine = await newMachine();
    const { space } = machine;
    const from = await filled(machine, 40);
    const to = space.array(u32, 40 * WORDS);
    expect(await space.prefetch(from, "device")).toBe(40 * PAGE);
    expect(await space.prefetch(to, "device", "write")).toBe(40 * PAGE);
    machine.check();
    // Again brings nothing.
    expect(await space.prefetch(from, "device")).toBe(0);
    expect(await space.prefetch(to, "device", "write")).toBe(0);
    const report = await machine.kernel(COPY).run(40 * WORDS, { input: from, out: to });
    expect([report.faults, report.pagesToDevice]).toEqual([0, 0]);
    await using held = await space.access(to, "read");
    for (let page = 0; page < 40; page++) expect(held.u32[page * WORDS]).toBe(page + 1);
    machine.check();
  });

  it.skipIf(isAbsent)("in mode read leaves the pages to the CPU, too", async () => {
    await using machine = await newMachine();
    const { space } = machine;
    const from = await filled(machine, 8);
    await space.prefetch(from, "device");
    const { bytesHome } = machine.report;
    await using held = await space.access(from, "read");
    expect([held.u32[7 * WORDS], machine.report.bytesHome]).toEqual([7, bytesHome]);
  });

  it.skipIf(isAbsent)("to the CPU brings home what lives on the device", async () => {
    await using machine = await newMachine();
    const { space } = machine;
    const array = await filled(machine, 20);
    expect(await space.prefetch(array, "device", "write")).toBe(20 * PAGE);
    expect(await space.prefetch(array, "cpu")).toBe(20 * PAGE);
    expect(await space.prefetch(array, "cpu")).toBe(0);
    machine.check();
    const { bytesHome } = machine.report;
    await using held = await space.access(array, "read");
    expect([held.u32[19 * WORDS], machine.report.bytesHome]).toEqual([19, bytesHome]);
  });

  it.skipIf(isAbsent)("brings as much as there is room for, and loses nothing", async () => {
    await using machine = await newMachine(64);
    const { space } = machine;
    const array = await filled(machine, 200);
    for (const mode of ["read", "write"] as const) {
      const bytes = await space.prefetch(array, "device", mode);
      expect(bytes).toBeGreaterThan(32 * PAGE);
      expect(bytes).toBeLessThanOrEqual(64 * PAGE);
      machine.check();
    }
    await using held = await space.access(array, "read");
    for (let page = 0; page < 200; page++) expect(held.u32[page * WORDS]).toBe(page);
  });

  it.skipIf(isAbsent)("passes over what is held and what nobody has touched", async () => {
    await using machine = await newMachine();
    const { space } = machine;
    const start = await space.mmap({ bytes: 16 * PAGE });
    {
      await using _ = await space.access({ start: start + 4 * PAGE, bytes: PAGE }, "write");
      await space.prefetch({ start, bytes: 16 * PAGE }, "device");
      await space.prefetch({ start, bytes: 16 * PAGE }, "device", "write");
      machine.check();
    }
    expect(await space.prefetch({ start: start + 4 * PAGE, bytes: 1 }, "device", "write")).toBe(
      PAGE,
    );
    machine.check();
  });

  it.skipIf(isAbsent)("names what it cannot have", async () => {
    await using machine = await newMachine();
    const { space } = machine;
    const start = await space.mmap({ bytes: 4 * PAGE });
    await space.mprotect(start + 2 * PAGE, PAGE, "r");
    await space.munmap(start + 3 * PAGE, PAGE);
    const prefetch = (pages: number, to: string, mode?: "write") =>
      space.prefetch({ start, bytes: pages * PAGE }, to as "device", mode);
    await expect(prefetch(1, "gpu")).rejects.toThrow('to must be "device" or "cpu", got "gpu"');
    await expect(prefetch(4, "device")).rejects.toMatchObject({
      code: "EFAULT",
      address: start + 3 * PAGE,
    });
    await expect(prefetch(3, "device", "write")).rejects.toMatchObject({
      code: "EFAULT",
      address: start + 2 * PAGE,
    });
    expect(await prefetch(0, "device")).toBe(0);
    const headless = await Machine.create({ cpu, device: "none" });
    await using _ = headless;
    const block = headless.space.malloc(PAGE);
    const nowhere = headless.space.prefetch({ start: block, bytes: PAGE }, "device");
    await expect(nowhere).rejects.toMatchObject({ code: "ENODEV", call: "prefetch" });
    expect(await headless.space.prefetch({ start: block, bytes: PAGE }, "cpu")).toBe(0);
  });

  it.skipIf(isAbsent)(
    "of a kernel compiles it, and brings the arrays among its arguments",
    async () => {
      await using machine = await newMachine();
      const { space } = machine;
      const [from, to] = [await filled(machine, 10), await filled(machine, 10)];
      const kernel = machine.kernel(COPY);
      await kernel.prepare({ input: from, out: to });
      expect(machine.report.bytesToDevice).toBe(20 * PAGE);
      const report = await kernel.run(10 * WORDS, { input: from, out: to });
      expect(report.pagesToDevice).toBe(0);
      await using held = await space.access(to, "read");
      expect(held.u32[9 * WORDS]).toBe(10);
      await machine.kernel(COPY).prepare();
      const bad = machine.kernel({ name: "typo", args: {}, code: "fn main(i: u32) { lode(); }" });
      await expect(bad.prepare()).rejects.toMatchObject({
        code: "EINVAL",
        call: "prepare",
        kernel: "typo",
      });
      await expect(kernel.prepare({ input: 2, out: to } as never)).rejects.toMatchObject({
        code: "EINVAL",
      });
    },
  );
});
