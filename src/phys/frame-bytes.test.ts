import { describe, expect, it } from "vitest";
import { PAGE_SIZE, pfn } from "../base/index.ts";
import { FrameBytes } from "./frame-bytes.ts";

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

  it("can be filled and copied by somebody faster", () => {
    const calls: string[] = [];
    const bytes = new FrameBytes(new ArrayBuffer(3 * PAGE_SIZE), {
      fillZero: (offset, count) => calls.push(`zero ${offset} ${count}`),
      copy: (to, from, count) => calls.push(`copy ${to} ${from} ${count}`),
    });
    bytes.zero(pfn(1));
    bytes.copy(pfn(1), pfn(2));
    expect(calls).toEqual(["zero 4096 4096", "copy 8192 4096 4096"]);
  });
});
