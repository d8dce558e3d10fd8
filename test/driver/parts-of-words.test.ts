/** Kernels that load and store numbers of 8 and 16 bits. */
import { beforeAll, describe, expect, it } from "vitest";
import { type Machine, ptr, u32 } from "../../src/machine/index.ts";
import { mebibytes, whyNoDevice, withMachine } from "./webgpu-machine.ts";

let reason: string | undefined;
beforeAll(async () => {
  reason = await whyNoDevice();
});

async function bytesOf(machine: Machine, view: Parameters<Machine["space"]["access"]>[0]) {
  await using access = await machine.space.access(view, "read");
  return new Uint8Array(access.u32.slice().buffer);
}

async function fill(machine: Machine, view: Parameters<Machine["space"]["access"]>[0]) {
  await using access = await machine.space.access(view, "write");
  const bytes = new Uint8Array(access.u32.length * 4);
  for (let i = 0; i < bytes.length; i++) bytes[i] = i * 7919 + (i >>> 8);
  access.u32.set(new Uint32Array(bytes.buffer));
  return bytes;
}

describe("parts of words in kernels", () => {
  it("are loaded with their sign or without", async (context) => {
    if (reason !== undefined) return context.skip(reason);
    await withMachine({}, async (machine) => {
      const source = machine.space.array(u32, 64);
      const to = machine.space.array(u32, 256 * 4);
      const bytes = await fill(machine, source);
      const kernel = machine.kernel({
        args: { source: ptr(u32), to: ptr(u32) },
        code: `fn main(i: u32) {
          let at = args.to + 16u * i;
          let even = args.source + (i & 254u);
          store_u32(at, load_u8(args.source + i));
          store_i32(at + 4u, load_i8(args.source + i));
          store_u32(at + 8u, load_u16(even));
          store_i32(at + 12u, load_i16(even));
        }`,
      });
      await kernel.run(256, { source, to });
      const view = new DataView((await bytesOf(machine, to)).buffer);
      const given = new DataView(bytes.buffer);
      for (let i = 0; i < 256; i++) {
        const found = [0, 4, 8, 12].map((at) => view.getInt32(16 * i + at, true));
        const even = i & 254;
        const expected = [given.getUint8(i), given.getInt8(i)];
        expected.push(given.getUint16(even, true), given.getInt16(even, true));
        expect(found).toEqual(expected);
      }
    });
  });

  it.each([
    ["alone", 64],
    ["with little memory", 0.5],
  ])("are stored beside what others store: %s", async (_, mebi) => {
    if (reason !== undefined) return;
    await withMachine({ deviceMemory: mebibytes(mebi) }, async (machine) => {
      const count = 2 ** 19;
      const source = machine.space.array(u32, count / 4);
      const to = machine.space.array(u32, count / 4);
      const bytes = await fill(machine, source);
      const kernel = machine.kernel({
        args: { source: ptr(u32), to: ptr(u32), count: u32 },
        code: `fn main(i: u32) {
          store_u8(args.to + i, 255u - load_u8(args.source + (args.count - 1u - i)));
        }`,
      });
      for (let times = 0; times < 2; times++) await kernel.run(count, { source, to, count });
      const found = await bytesOf(machine, to);
      expect(found).toEqual(Uint8Array.from(bytes, (_, i) => 255 - bytes[count - 1 - i]!));
    });
  });

  it.each([4, 40, 700])("are seen by own loads, %i bytes an invocation", async (bytes) => {
    if (reason !== undefined) return;
    await withMachine({}, async (machine) => {
      const count = 300;
      const words = machine.space.array(u32, Math.ceil((count * bytes) / 4));
      const kernel = machine.kernel({
        args: { words: ptr(u32), bytes: u32 },
        code: `fn main(i: u32) {
          let base = args.words + args.bytes * i;
          for (var k = 0u; k < args.bytes; k += 4u) { store_u32(base + k, 0x01010101u * (k & 63u)); }
          for (var k = 1u; k < args.bytes; k++) {
            store_u8(base + k, load_u8(base + k - 1u) + load_u8(base + k) + 1u);
          }
          store_u16(base + 2u, load_u16(base) ^ 0xffu);
          store_i8(base, i32(load_u32(base) >> 24u) - 128);
        }`,
      });
      await kernel.run(count, { words, bytes });
      const own = new Uint8Array(bytes);
      for (let k = 0; k < bytes; k++) own[k] = k & 60 & 63;
      for (let k = 1; k < bytes; k++) own[k] = own[k - 1]! + own[k]! + 1;
      const view = new DataView(own.buffer);
      view.setUint16(2, view.getUint16(0, true) ^ 0xff, true);
      view.setInt8(0, own[3]! - 128);
      const found = await bytesOf(machine, words);
      for (let i = 0; i < count; i++) {
        expect(found.subarray(i * bytes, (i + 1) * bytes)).toEqual(own);
      }
    });
  });

  it("hold floats of 16 bits", async (context) => {
    if (reason !== undefined) return context.skip(reason);
    await withMachine({}, async (machine) => {
      const words = machine.space.array(u32, 64);
      const kernel = machine.kernel({
        args: { words: ptr(u32) },
        code: `fn main(i: u32) {
          store_f16(args.words + 2u * i, 0.25 * f32(i));
          store_f16(args.words + 128u + 2u * i, 2.0 * load_f16(args.words + 2u * i));
        }`,
      });
      await kernel.run(64, { words });
      const halves = new Uint16Array((await bytesOf(machine, words)).buffer);
      // 0.5, 1 and 2 as halves: their exponents.
      expect([halves[2], halves[4], halves[8], halves[64 + 4]]).toEqual([
        0x3800, 0x3c00, 0x4000, 0x4000,
      ]);
    });
  });

  it("lie where they may: an odd address of 16 bits is a fault", async (context) => {
    if (reason !== undefined) return context.skip(reason);
    await withMachine({}, async (machine) => {
      const words = machine.space.array(u32, 4);
      for (const call of ["load_u16(args.words + 1u)", "0u; store_u16(args.words + 3u, 1u)"]) {
        const kernel = machine.kernel({
          args: { words: ptr(u32) },
          code: `fn main(i: u32) { let a = ${call}; store_u32(args.words, a); }`,
        });
        await expect(kernel.run(1, { words })).rejects.toMatchObject({ code: "EINVAL" });
      }
    });
  });
});
