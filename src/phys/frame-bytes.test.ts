import { describe, expect, it } from "vitest";
import { PAGE_SIZE, type Pfn, pfn } from "../base/index.ts";
import { FrameBytes, runLength } from "./frame-bytes.ts";

describe("the bytes of frames", () => {
  it("are zeroed, copied, read and written a frame at a time", () => {
    const bytes = new FrameBytes(new ArrayBuffer(4 * PAGE_SIZE));
    bytes.u8.fill(9);
    bytes.zero(pfn(1));
    bytes.storeWord(pfn(1), 1023, 0xdeadbeef);
    bytes.copy(pfn(1), pfn(2));
    expect([bytes.loadWord(pfn(2), 0), bytes.loadWord(pfn(2), 1023)]).toEqual([0, 0xdeadbeef]);
    expect([bytes.u8[PAGE_SIZE - 1], bytes.u8[3 * PAGE_SIZE]]).toEqual([9, 9]);
    const out = new Uint8Array(PAGE_SIZE + 8).fill(7);
    bytes.read(pfn(2), out, 8);
    expect([out[7], out[8], out[PAGE_SIZE + 7]]).toEqual([7, 0, 0xde]);
    bytes.write(pfn(3), out, 8);
    expect([bytes.loadWord(pfn(3), 1023), bytes.u8[4 * PAGE_SIZE - 1]]).toEqual([0xdeadbeef, 0xde]);
  });

  it("go out and come in by runs of frames in a row", () => {
    const bytes = new FrameBytes(new ArrayBuffer(5 * PAGE_SIZE));
    for (const frame of [1, 2, 3]) bytes.storeWord(pfn(frame), 5, frame * 11);
    const out = new Uint8Array(2 * PAGE_SIZE + 4);
    bytes.read(pfn(1), out, 4, 2);
    bytes.write(pfn(3), out, 4, 2);
    expect([3, 4].map((frame) => bytes.loadWord(pfn(frame), 5))).toEqual([11, 22]);
    const [from, to] = [
      [7, 8, 9, 11, 12],
      [1, 2, 5, 6, 7],
    ].map((list) => list.map(pfn)) as [Pfn[], Pfn[]];
    expect([0, 1, 2, 3, 4].map((at) => runLength(from, to, at))).toEqual([2, 1, 1, 2, 1]);
  });

  it("can be filled and copied by somebody faster", () => {
    const calls: string[] = [];
    const bytes = new FrameBytes(new ArrayBuffer(3 * PAGE_SIZE), {
      bulk: {
        fillZero: (offset, count) => calls.push(`zero ${offset} ${count}`),
        copy: (to, from, count) => calls.push(`copy ${to} ${from} ${count}`),
      },
    });
    bytes.zero(pfn(1));
    bytes.copy(pfn(1), pfn(2));
    expect(calls).toEqual(["zero 4096 4096", "copy 8192 4096 4096"]);
  });

  it("may begin with another frame than 0: then every frame lies so much lower", () => {
    const calls: string[] = [];
    const bulk = {
      fillZero: (offset: number) => calls.push(`zero ${offset}`),
      copy: (to: number, from: number) => calls.push(`copy ${to} ${from}`),
    };
    const bytes = new FrameBytes(new ArrayBuffer(2 * PAGE_SIZE), { firstFrame: 16, bulk });
    expect([bytes.frameAt(0), bytes.frameAt(1)]).toEqual([16, 17]);
    bytes.storeWord(pfn(17), 3, 7);
    bytes.page(pfn(16)).fill(1);
    expect([bytes.u32[1024 + 3], bytes.loadWord(pfn(17), 3), bytes.u8[0]]).toEqual([7, 7, 1]);
    bytes.zero(pfn(16));
    bytes.copy(pfn(16), pfn(17));
    expect(calls).toEqual(["zero 0", "copy 4096 0"]);
  });
});
