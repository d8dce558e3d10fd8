import { describe, expect, it } from "vitest";
import { blankComments, placeOf } from "./source-text.ts";

describe("blankComments", () => {
  it("keeps length and lines", () => {
    const code = "a /* b\nc */ d // e\u2028f";
    const blank = blankComments(code);
    expect(blank).toBe("a     \n     d     \u2028f");
  });
});

describe("placeOf", () => {
  it("counts lines as WGSL ends them, from 1", () => {
    const code = "ab\r\ncd\rx";
    expect(placeOf(code, 0)).toEqual({ line: 1, column: 1 });
    expect(placeOf(code, code.indexOf("d"))).toEqual({ line: 2, column: 2 });
    expect(placeOf(code, code.indexOf("x"))).toEqual({ line: 3, column: 1 });
  });
});
