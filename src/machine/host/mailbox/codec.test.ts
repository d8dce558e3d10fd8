import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { replayable } from "../../../../test/replay/replay.ts";
import { AssertionError } from "../../../base/index.ts";
import { HmmError, hmmError } from "../../error.ts";
import { decode, encode, packError, unpackError } from "./codec.ts";

const sent = (value: unknown): unknown => decode(encode("test", value));
const thrown = (error: unknown): unknown => unpackError(sent(packError(error)));

describe("a value that crosses", () => {
  it.each([
    ["undefined", undefined],
    ["a record", { name: "mmap", ask: { bytes: 4096, at: undefined, flags: -0 } }],
    ["a bigint", { at: 2n ** 70n, below: -1n }],
    ["an empty array", new Uint8Array(0)],
    ["an ArrayBuffer", Uint8Array.of(1, 2, 3).buffer],
    [
      "views of all types",
      [
        Uint8Array.of(1, 255),
        Int8Array.of(-1),
        Uint8ClampedArray.of(7),
        Uint16Array.of(65535),
        Int16Array.of(-2),
        Uint32Array.of(2 ** 32 - 1),
        Int32Array.of(-3),
        Float32Array.of(1.5),
        Float64Array.of(Number.NaN, 1e300),
        BigUint64Array.of(2n ** 64n - 1n),
        BigInt64Array.of(-5n),
        new DataView(Uint8Array.of(9, 8, 7).buffer, 1, 2),
        Buffer.from("text"),
      ],
    ],
    ["a map, a set, a date", [new Map([[1, new Set(["x"])]]), new Date(5)]],
  ])("is equal afterwards: %s", (_, value) => {
    expect(sent(value)).toStrictEqual(value);
  });

  it("is equal afterwards, whatever it is", () => {
    const anything = fc.anything({
      withBigInt: true,
      withDate: true,
      withMap: true,
      withSet: true,
      withTypedArray: true,
      withSparseArray: true,
    });
    fc.assert(
      fc.property(anything, (value) => {
        expect(sent(value)).toStrictEqual(value);
      }),
      replayable("mailbox-codec"),
    );
  });

  it("takes only the elements of a view along, in a buffer of their own", () => {
    const whole = new Float64Array(1000).fill(3);
    const [a, b] = sent([whole.subarray(500, 502), "x"]) as [Float64Array, string];
    expect([a.length, a.buffer.byteLength, b]).toEqual([2, 16, "x"]);
    expect(encode("test", whole.subarray(500, 502)).length).toBeLessThan(64);
  });

  it("is a copy of what a view shows of shared memory", () => {
    const shared = new Uint16Array(new SharedArrayBuffer(16)).fill(9);
    const bytes = encode("test", shared.subarray(2, 5));
    shared.fill(1);
    const copy = decode(bytes) as Uint16Array;
    expect(copy).toStrictEqual(Uint16Array.of(9, 9, 9));
    expect(copy.buffer).toBeInstanceOf(ArrayBuffer);
  });

  it("has nothing in common with the bytes that it came in", () => {
    const bytes = encode("test", { a: Uint8Array.of(1, 2), b: Uint8Array.of(3).buffer });
    const value = decode(bytes) as { a: Uint8Array; b: ArrayBuffer };
    bytes.fill(0);
    expect([...value.a, ...new Uint8Array(value.b)]).toEqual([1, 2, 3]);
  });

  it.each([
    ["a function", { f: () => 1 }],
    ["a symbol", [Symbol("s")]],
    ["shared memory", new SharedArrayBuffer(8)],
    ["a weak map", new WeakMap()],
    ["a promise", Promise.resolve()],
  ])("is not %s: EINVAL, naming the call", (_, value) => {
    expect(() => encode("munmap", value)).toThrow(
      expect.objectContaining({
        name: "HmmError",
        code: "EINVAL",
        call: "munmap",
        detail: expect.stringContaining("must be data that can be copied"),
      }),
    );
  });
});

describe("an error that crosses", () => {
  const launch = { kernel: "sum", address: 0x5000, access: "write", invocation: 7 } as const;

  it("is an HmmError with all it says, and its causes", () => {
    const inner = hmmError({ code: "EFAULT", call: "run", detail: "no right", ...launch });
    const middle = new TypeError("in between", { cause: inner });
    const outer = hmmError({ code: "EIO", call: "access", detail: "it failed", cause: middle });
    const crossed = thrown(outer) as HmmError;
    expect(crossed).toBeInstanceOf(HmmError);
    expect(crossed).toMatchObject({ code: "EIO", errno: 5, call: "access", detail: "it failed" });
    expect(crossed.message).toBe(outer.message);
    expect(Object.keys(crossed)).toEqual(Object.keys(outer));
    const cause = crossed.cause as TypeError;
    expect(cause).toBeInstanceOf(TypeError);
    expect(cause.message).toBe("in between");
    expect(cause.cause).toBeInstanceOf(HmmError);
    expect(cause.cause).toMatchObject({ code: "EFAULT", ...launch });
    expect((cause.cause as HmmError).cause).toBeUndefined();
  });

  it("is another error with name, message and the stack of where it was thrown", () => {
    const broken = new AssertionError("pages are 4 KiB");
    const crossed = thrown(broken) as AssertionError;
    expect(crossed).toBeInstanceOf(AssertionError);
    expect([crossed.name, crossed.message, crossed.stack]).toEqual([
      "AssertionError",
      "pages are 4 KiB",
      broken.stack,
    ]);
    class OddError extends Error {
      override readonly name = "OddError";
    }
    expect(String(thrown(new OddError("what")))).toBe("OddError: what");
  });

  it("keeps eight causes at most: an error may be its own", () => {
    const circle = new Error("round");
    circle.cause = circle;
    let depth = 0;
    let error = thrown(circle) as Error;
    for (; error.cause !== undefined; depth++) error = error.cause as Error;
    expect(depth).toBe(8);
  });

  it("may be no error at all", () => {
    expect([thrown("text"), thrown(5n), thrown(undefined), thrown(null)]).toEqual([
      "text",
      5n,
      undefined,
      null,
    ]);
    expect(thrown({ a: 1 })).toBe("[object Object]");
    expect(thrown(Object.create(null))).toBe("a thrown object without a text");
  });
});
