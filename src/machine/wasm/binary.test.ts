import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { replayable } from "../../../test/replay/replay.ts";
import { Reader, Writer } from "./binary.ts";

const reader = (...bytes: number[]): Reader => new Reader(new Uint8Array(bytes));

describe("numbers", () => {
  it("are read as they are written", () => {
    fc.assert(
      fc.property(fc.nat(2 ** 31 - 1), fc.boolean(), (half, isOdd) => {
        const value = half * 2 + Number(isOdd);
        const written = new Writer(1).u32(value).done();
        const read = new Reader(written);
        expect([read.u32(), read.isAtEnd]).toEqual([value, true]);
      }),
      replayable("wasm-numbers"),
    );
  });

  it("may be longer than they need to be, but not longer than 32 bits", () => {
    expect(reader(0x80, 0x80, 0x80, 0x80, 0x00).u32()).toBe(0);
    expect(reader(0xff, 0xff, 0xff, 0xff, 0x0f).u32()).toBe(2 ** 32 - 1);
    expect(() => reader(0xff, 0xff, 0xff, 0xff, 0x1f).u32()).toThrow(/above 32 bits at byte 0/);
    expect(() => reader(0x80, 0x80, 0x80, 0x80, 0x80, 0x00).u32()).toThrow(/above 32 bits/);
    expect(() => reader(0x80).u32()).toThrow(/ends too early at byte 1/);
  });

  it("with a sign are passed over", () => {
    const read = reader(0x7f, ...Array(9).fill(0x80), 0x01, 0x2a);
    read.skipSigned(32);
    read.skipSigned(64);
    expect(read.byte()).toBe(0x2a);
    expect(() => reader(0x80, 0x80, 0x80, 0x80, 0x80, 0).skipSigned(33)).toThrow(/above 33 bits/);
  });
});

describe("parts", () => {
  it("are never read past their end, nor begun past it", () => {
    const whole = reader(1, 2, 3, 4);
    const part = whole.part(2);
    expect([part.byte(), part.peek(), part.byte(), part.isAtEnd]).toEqual([1, 2, 2, true]);
    expect(() => part.byte()).toThrow(/ends too early at byte 2/);
    expect(() => part.peek()).toThrow(/ends too early/);
    expect(() => whole.part(3)).toThrow(/ends too early at byte 2/);
    expect(() => whole.expectEnd("a test")).toThrow(/a test with bytes left over at byte 2/);
    expect([...whole.since(1), ...whole.rest()]).toEqual([2, 3, 4]);
  });

  it("hold names", () => {
    const bytes = new Writer().name("größe").byte(9).done();
    const read = new Reader(bytes);
    expect([read.name(), read.byte()]).toEqual(["größe", 9]);
    expect(() => reader(9, 0x61).name()).toThrow(/ends too early/);
    expect(() => reader(1, 0xc3).name()).toThrow(/not UTF-8 at byte 0/);
  });
});
