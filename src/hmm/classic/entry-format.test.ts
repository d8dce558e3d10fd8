import { describe, expect, it } from "vitest";
import { pfn } from "../../base/index.ts";
import { HMM_PFN_ERROR, HMM_PFN_REQ_FAULT, HMM_PFN_REQ_WRITE } from "../hmm-range.ts";
import { EntryFormat, type EntryFormatOptions } from "./entry-format.ts";

const WIDE: EntryFormatOptions = {
  flags: { valid: 1n << 63n, write: 1n << 62n, devicePrivate: 1n << 61n },
  values: { none: 0n, error: 1n << 60n, special: 1n << 59n },
  pfnShift: 12,
};
const NARROW: EntryFormatOptions = {
  flags: { valid: 1n << 31n, write: 1n << 30n },
  values: { none: 0xffn, error: 0x0fn, special: 0x0fn },
  pfnShift: 4,
};
const PRIVATE = pfn(0xff_ffff);
const context = {
  isPrivate: (frame: number) => frame === PRIVATE,
  isSpecial: (i: number) => i === 4,
};
/** Readable, writable, private, none, an error that is special, an error. */
const WORDS = new Uint32Array([
  (0x123 << 8) | 1,
  (0x123 << 8) | 3,
  (PRIVATE << 8) | 1,
  0,
  HMM_PFN_ERROR,
  HMM_PFN_ERROR,
]);

describe("an entry format", () => {
  it("puts frame, flags and values where a device of 64 bits wants them", () => {
    const format = EntryFormat.of64(WIDE);
    const entries = format.newEntries(6);
    format.encode(WORDS, entries, 6, context);
    expect([...entries]).toEqual([
      (0x123n << 12n) | (1n << 63n),
      (0x123n << 12n) | (3n << 62n),
      (BigInt(PRIVATE) << 12n) | (5n << 61n),
      0n,
      1n << 59n,
      1n << 60n,
    ]);
    expect([...entries].map((entry) => format.frameOf(entry))).toEqual([
      0x123,
      0x123,
      PRIVATE,
      0,
      0,
      0,
    ]);
  });

  it("does the same in 32 bits, where there is room", () => {
    const format = EntryFormat.of32({ ...NARROW, pfnShift: 0 });
    const entries = format.newEntries(6);
    expect([...entries]).toEqual([0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    format.encode(WORDS, entries, 6, context);
    expect([...entries]).toEqual([0x8000_0123, 0xc000_0123, 0x80ff_ffff, 0xff, 0x0f, 0x0f]);
    expect(format.frameOf(entries[1]!)).toBe(0x123);
    expect(format.frameOf(format.entryOf(pfn(0x456)))).toBe(0x456);
    format.clear(entries, 1, 2);
    expect([...entries.subarray(0, 2)]).toEqual([0x8000_0123, 0xff]);
  });

  it("reads requests in its own bits", () => {
    const format = EntryFormat.of64(WIDE);
    expect(format.requestOf(1n << 63n)).toBe(HMM_PFN_REQ_FAULT);
    expect(format.requestOf(3n << 62n)).toBe(HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE);
    expect(format.requestOf(0)).toBe(0);
  });

  it.each<[string, Partial<EntryFormatOptions>, RegExp]>([
    ["a shift above PAGE_SHIFT", { pfnShift: 13 }, /pfnShift is 13: .* from 0 to 12/],
    ["a shift that is no integer", { pfnShift: 1.5 }, /pfnShift is 1.5/],
    [
      "flags that share a bit",
      { flags: { valid: 2n ** 63n, write: 3n << 62n } },
      /flags.write is 0xc0.*shares bits/,
    ],
    [
      "a flag within the frame",
      { flags: { valid: 1n << 12n, write: 2n ** 62n } },
      /flags.valid is 0x1000: it shares bits/,
    ],
    [
      "a flag without a bit",
      { flags: { valid: 2n ** 63n, write: 0n } },
      /flags.write is 0: it must have a bit/,
    ],
    [
      "a flag that does not fit",
      { flags: { valid: 2n ** 64n, write: 1n } },
      /flags.valid is 18446744073709551616: it must be a bigint below/,
    ],
    [
      "a value that is valid",
      { values: { none: 0n, error: 2n ** 63n, special: 1n } },
      /values.error is 0x8000000000000000: it may not have flags.valid/,
    ],
    [
      "none that looks like an error",
      { values: { none: 5n, error: 5n, special: 6n } },
      /values.none is 0x5: it must differ/,
    ],
  ])("refuses %s", (_what, wrong, message) => {
    expect(() => EntryFormat.of64({ ...WIDE, ...wrong })).toThrow(message);
  });

  it("refuses a frame that does not fit in 32 bits", () => {
    expect(() => EntryFormat.of32({ ...NARROW, pfnShift: 12 })).toThrow(/24 bits of frame/);
  });
});
