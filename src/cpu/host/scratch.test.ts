import { describe, expect, it } from "vitest";
import { loadLinux } from "./linux.ts";
import { whyNotHost } from "./probe.ts";
import { Scratch } from "./scratch.ts";

const obstacle = whyNotHost();

describe.skipIf(obstacle)(`scratch memory (${obstacle?.reason ?? "native here"})`, () => {
  it("keeps numbers of 64 bits as two words, the lower one first", () => {
    const scratch = new Scratch(loadLinux());
    scratch.set64(2, 0x7f12_3456_789a);
    expect([...scratch.words.subarray(2, 4)]).toEqual([0x3456_789a, 0x7f12]);
    expect(scratch.get64(2)).toBe(0x7f12_3456_789a);
    scratch.words.fill(0xffff_ffff, 4, 6);
    expect(scratch.get64(4)).toBe(-1);
    scratch.words.set([0xffff_fff5, 0xffff_ffff], 4);
    expect(scratch.get64(4)).toBe(-11);
    scratch.free();
  });
});

describe.skipIf(obstacle)("the bindings", () => {
  it("are made once, and answer -1 with an errno where a call fails", () => {
    const linux = loadLinux();
    expect(loadLinux()).toBe(linux);
    expect([linux.close(-1), linux.errno()]).toEqual([-1, 9]);
  });
});
