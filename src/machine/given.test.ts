import { describe, expect, it } from "vitest";
import { HmmError } from "./error.ts";
import { checkOptions, show, showAddress } from "./given.ts";

describe("what was given, in messages", () => {
  it("is told apart by how it is written", () => {
    class Elephant {}
    const cases: [unknown, string][] = [
      [5, "5"],
      ["5", '"5"'],
      [5n, "5n"],
      [Number.NaN, "NaN"],
      [undefined, "undefined"],
      [null, "null"],
      [true, "true"],
      [Symbol("s"), "Symbol(s)"],
      ["x".repeat(100), `"${"x".repeat(60)}…"`],
      [[1, "a", [2]], '[1, "a", [2]]'],
      [[1, 2, 3, 4, 5, 6, 7], "[1, 2, 3, 4, 5, 6, …]"],
      [{}, "{}"],
      [{ start: 1, bytes: 2 }, "{ start, bytes }"],
      [{ address: 0x1000 }, "a view at 0x1000"],
      [new Map(), "a Map"],
      [new Elephant(), "an Elephant"],
      [Object.create(null), "{}"],
      [show, "the function show"],
      [() => 1, "a function"],
    ];
    for (const [value, text] of cases) expect(show(value)).toBe(text);
  });

  it("never throws for it", () => {
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    const thrower = {
      get constructor(): never {
        throw new Error("no");
      },
    };
    for (const value of [proxy, thrower]) expect(show(value)).toBe("an object");
  });

  it("is an address in hexadecimal, and else what it is", () => {
    expect([0, 4096, -4096, Number.NaN, 1.5, "16"].map(showAddress)).toEqual([
      "0x0",
      "0x1000",
      "-4096",
      "NaN",
      "1.5",
      '"16"',
    ]);
  });
});

describe("options", () => {
  it("are a record, and nothing in it is ignored", () => {
    checkOptions("mmap", { bytes: 1 }, ["bytes", "rights"]);
    expect(() => checkOptions("mmap", 5, [])).toThrow("mmap: options must be an object, got 5");
    expect(() => checkOptions("mmap", { adress: 1 }, ["bytes", "address"])).toThrow(
      "mmap: unknown option adress (known: bytes, address) (EINVAL)",
    );
    expect(() => checkOptions("mmap", null, [])).toThrow(HmmError);
  });
});
