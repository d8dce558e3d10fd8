/** The ratchet turns one way only. */
import { describe, expect, it } from "vitest";
import { type Exception, judge } from "./ratchet.ts";
import type { Finding } from "./text-checks.ts";

const long: Finding = { rule: "function-length", subject: "src/a.ts#f", detail: "80 lines" };
const excuse: Exception = {
  rule: "function-length",
  subject: "src/a.ts#f",
  reason: "one table, read top to bottom",
};

describe("the ratchet", () => {
  it("is content with nothing, and with an excused finding", () => {
    expect(judge([], [])).toEqual([]);
    expect(judge([long], [excuse])).toEqual([]);
  });

  it("reports a finding that nothing excuses", () => {
    expect(judge([long], [])).toEqual(["function-length: src/a.ts#f: 80 lines"]);
    const other = { ...long, subject: "src/a.ts#g" };
    expect(judge([long, other], [excuse])).toEqual(["function-length: src/a.ts#g: 80 lines"]);
  });

  it("reports an exception that is no longer needed", () => {
    expect(judge([], [excuse])).toEqual([
      "exception function-length: src/a.ts#f: no longer needed",
    ]);
  });

  it("asks for a reason", () => {
    expect(judge([long], [{ ...excuse, reason: " " }])).toEqual([
      "exception function-length: src/a.ts#f: gives no reason",
    ]);
  });

  it("excuses sizes only", () => {
    const rule = "any";
    expect(judge([{ ...long, rule }], [{ ...excuse, rule }])).toEqual([
      "any: src/a.ts#f: 80 lines",
      "exception any: src/a.ts#f: this rule has no exceptions",
    ]);
  });
});
