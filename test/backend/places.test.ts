/**
 * What is taken wherever a piece of memory is meant: any typed array, DataView or Buffer on the
 * window, at any alignment and of any length, besides views of ours and plain places.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Machine, type Place, u32, whyNotHost } from "../../src/machine/index.ts";

const PAGE = 4096;
const obstacle = whyNotHost()?.reason;

describe.each(["host", "scoped"] as const)("places of memory on the backend %s", (cpu) => {
  let machine: Machine;
  let at = 0;

  beforeAll(async () => {
    if (cpu === "host" && obstacle !== undefined) return;
    machine = await Machine.create({ cpu, device: "none" });
  });
  afterAll(async () => {
    await machine?.close();
  });

  const on = (title: string, body: () => Promise<void>): void => {
    it(title, async (context) => {
      if (machine === undefined) return context.skip(obstacle);
      at = await machine.space.mmap({ bytes: 8 * PAGE });
      await body();
      machine.check();
      await machine.space.munmap(at, 8 * PAGE);
    });
  };

  /** [start, start + bytes) of the mapping, as everything that may say so. */
  const places = (start: number, bytes: number): [string, Place][] => {
    const { window } = machine.space;
    return [
      ["a place", { start: at + start, bytes }],
      ["a view's place", { address: at + start, bytes }],
      ["Uint8Array", new Uint8Array(window, at + start, bytes)],
      ["DataView", new DataView(window, at + start, bytes)],
      ["Buffer", Buffer.from(window, at + start, bytes)],
    ];
  };

  on("a bracket has exactly the bytes, wherever they begin and end", async () => {
    const { space } = machine;
    for (const [start, bytes] of [
      [0, 4 * PAGE],
      [1, 3],
      [PAGE - 1, 2],
      [PAGE + 3, 2 * PAGE + 10],
      [5, 0],
      [8 * PAGE - 7, 7],
    ] as const) {
      for (const [name, place] of places(start, bytes)) {
        for (const open of [space.access(place, "write"), space.accessSync(place, "write")]) {
          const held = await open;
          expect([name, held.start, held.bytes.length]).toEqual([name, at + start, bytes]);
          held.bytes.fill(1 + start);
          held.close();
        }
        await space.populate(place, "read");
        space.populateSync(place, "write");
        if (bytes > 0) expect(space.u8[at + start]).toBe((1 + start) & 255);
      }
    }
  });

  on("elements of any size, and views of ours", async () => {
    const { space } = machine;
    const { window } = space;
    for (const Kind of [Int8Array, Uint16Array, Float32Array, Float64Array, BigInt64Array]) {
      const held = await space.access(new Kind(window as never, at + 16, 600), "write");
      expect([held.start, held.bytes.length]).toEqual([at + 16, 600 * Kind.BYTES_PER_ELEMENT]);
      held.close();
    }
    const array = space.array(u32, 2000);
    const held = await space.access(array, "write");
    expect([held.start, held.u32.length]).toEqual([array.address, 2000]);
    held.close();
  });

  on("words need an aligned start, and say so", async () => {
    const held = await machine.space.access({ start: at + 2, bytes: 8 }, "read");
    expect(held.bytes.length).toBe(8);
    for (const name of ["u32", "i32", "f32"] as const) {
      expect(() => held[name]).toThrow(
        `${name} needs a start that is a multiple of 4, got 0x${(at + 2).toString(16)}`,
      );
    }
    held.close();
  });

  on("discard makes exactly these bytes zero", async () => {
    const { space } = machine;
    for (const [start, bytes] of [
      [0, PAGE],
      [1, 3],
      [PAGE - 1, 2],
      [PAGE - 1, PAGE + 2],
      [PAGE + 7, 3 * PAGE + 1],
      [2 * PAGE, 2 * PAGE + 9],
      [9, 0],
    ] as const) {
      for (const [name, place] of places(start, bytes)) {
        for (const isSync of [false, true]) {
          const held = await space.access({ start: at, bytes: 8 * PAGE }, "write");
          held.bytes.fill(7);
          held.close();
          if (isSync) space.discardSync(place);
          else await space.discard(place);
          const after = await space.access({ start: at, bytes: 8 * PAGE }, "read");
          const zeros = after.bytes.reduce((count, byte) => count + (byte === 0 ? 1 : 0), 0);
          const inside = after.bytes.subarray(start, start + bytes);
          expect([name, zeros, inside.every((byte) => byte === 0)]).toEqual([name, bytes, true]);
          after.close();
        }
      }
    }
  });

  on("memory elsewhere is refused, and what is no place", async () => {
    const { space } = machine;
    const foreign = [new Uint8Array(16), Buffer.alloc(16), new DataView(new ArrayBuffer(16))];
    for (const view of foreign) {
      const message = new RegExp(
        `typed array must lie on the window of this space .*${view.constructor.name} of 16 bytes on other memory.*EINVAL`,
      );
      await expect(space.access(view, "read")).rejects.toThrow(message);
      await expect(space.populate(view, "read")).rejects.toThrow(message);
      await expect(space.discard(view)).rejects.toThrow(message);
      expect(() => space.populateSync(view, "read")).toThrow(message);
    }
    for (const place of [null, 5, {}, { start: -1, bytes: 4 }, { start: 4, bytes: -1 }] as const) {
      await expect(space.access(place as never, "read")).rejects.toMatchObject({ code: "EINVAL" });
    }
    const past = { start: 0xffff_fff0, bytes: 32 };
    await expect(space.populate(past, "read")).rejects.toThrow(/leaves the space.*EINVAL/);
  });
});
