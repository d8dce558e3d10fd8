/** Mappings and the heap share the window: each may have nearly all of it, and what it gives back. */
import { describe, expect, it } from "vitest";
import { Machine, whyNotHost } from "../../src/machine/index.ts";

const GiB = 2 ** 30;
const MiB = 2 ** 20;

describe.each(["scoped", "host"] as const)("one pool, with CPU backend %s", (cpu) => {
  const isAbsent = cpu === "host" && whyNotHost() !== undefined;
  const newMachine = () => Machine.create({ cpu, device: "none" });

  /** Writes a word and reads zero before. */
  async function touch({ space }: Machine, address: number, value: number): Promise<void> {
    await using held = await space.access({ start: address, bytes: 4 }, "write");
    expect(held.u32[0]).toBe(0);
    held.u32[0] = value;
  }

  it.skipIf(isAbsent).each([1, 2, 3])("maps %i GiB in an empty window", async (size) => {
    await using machine = await newMachine();
    const { space } = machine;
    const bytes = size * GiB;
    const start = await space.mmap({ bytes });
    await touch(machine, start, 1);
    await touch(machine, start + bytes - 4096, 2);
    // What the mapping does not have is the heap's still.
    space.free(space.malloc(64 * MiB));
    machine.check();
    await space.munmap(start, bytes);
    const block = space.malloc(3 * GiB);
    space.free(block);
    expect(await space.mmap({ bytes })).toBeGreaterThan(0);
    machine.check();
  });

  it.skipIf(isAbsent)("gives the heap 3 GiB, and mappings what it frees", async () => {
    await using machine = await newMachine();
    const { space } = machine;
    const block = space.malloc(3 * GiB);
    await expect(space.mmap({ bytes: GiB })).rejects.toMatchObject({ code: "ENOMEM" });
    space.free(block);
    const start = await space.mmap({ bytes: GiB });
    expect(() => space.malloc(3 * GiB)).toThrow(expect.objectContaining({ code: "ENOMEM" }));
    await space.munmap(start, GiB);
    expect(space.heapUsage.bytesFreeRun).toBeGreaterThan(3 * GiB);
  });

  it.skipIf(isAbsent)(
    "finds zeros where blocks were, and the other way round nothing",
    async () => {
      await using machine = await newMachine();
      const { space } = machine;
      const block = space.malloc(3 * GiB);
      const last = block + 3 * GiB - 4096;
      await touch(machine, last, 7);
      space.free(block);
      const start = await space.mmap({ bytes: 3 * GiB });
      for (const at of [start, last].filter((each) => each < start + 3 * GiB)) {
        await touch(machine, at, 8);
      }
      machine.check();
    },
  );

  it.skipIf(isAbsent)(
    "keeps the rest of a span for small mappings until nothing is mapped there",
    async () => {
      await using machine = await newMachine();
      const { space } = machine;
      const all = space.heapUsage.bytesFree;
      const large = await space.mmap({ bytes: GiB });
      const lent = all - space.heapUsage.bytesFree;
      // Whole spans of 4 MiB.
      expect(lent).toBeGreaterThanOrEqual(GiB);
      expect(lent).toBeLessThan(GiB + 4 * MiB);
      await space.munmap(large + 64 * MiB, 64 * MiB);
      expect(all - space.heapUsage.bytesFree).toBe(lent - 64 * MiB);
      await space.munmap(large + 4096, 4096);
      expect(all - space.heapUsage.bytesFree).toBe(lent - 64 * MiB);
      // The middle is the heap's again: who means both sides says so.
      await expect(space.munmap(large, GiB)).rejects.toMatchObject({ code: "EINVAL" });
      await space.munmap(large, 64 * MiB);
      await space.munmap(large + 128 * MiB, GiB - 128 * MiB);
      expect(space.heapUsage.bytesFree).toBe(all);
    },
  );

  it.skipIf(isAbsent)("refuses to unmap the heap, and to map at an address of it", async () => {
    await using machine = await newMachine();
    const { space } = machine;
    const block = space.malloc(MiB);
    const page = block - (block % 4096);
    await expect(space.munmap(page, MiB)).rejects.toMatchObject({ code: "EINVAL" });
    await expect(space.mmap({ bytes: 4096, address: page })).rejects.toMatchObject({
      code: "EEXIST",
    });
    const start = await space.mmap({ bytes: 2 * GiB });
    expect(() => space.free(start)).toThrow(expect.objectContaining({ code: "EINVAL" }));
    // Over both: nothing is unmapped.
    const low = start - 4 * MiB;
    await expect(space.munmap(low, 8 * MiB)).rejects.toMatchObject({ code: "EINVAL" });
    await touch(machine, start, 3);
  });
});
