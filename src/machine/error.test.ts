import { describe, expect, it } from "vitest";
import { EFAULT, EINVAL, ENOMEM } from "../base/index.ts";
import { errorCode, HmmError, hmmError, invalid } from "./error.ts";

describe("an HmmError", () => {
  it("carries the code, its number, the call and a message that says all of it", () => {
    const error = new HmmError({
      code: "EINVAL",
      call: "malloc",
      detail: "size must be a positive integer, got -3",
    });
    expect(error).toBeInstanceOf(Error);
    expect(error.name).toBe("HmmError");
    expect([error.code, error.errno, error.call]).toEqual(["EINVAL", EINVAL, "malloc"]);
    expect(error.message).toBe("malloc: size must be a positive integer, got -3 (EINVAL)");
  });

  it("keeps its cause", () => {
    const cause = new Error("below");
    expect(hmmError({ code: "EIO", call: "run", detail: "lost", cause }).cause).toBe(cause);
    expect("cause" in invalid("run", "no cause")).toBe(false);
  });

  it("names kernel, invocation, access and address of a launch that faulted", () => {
    const error = hmmError({
      code: "EFAULT",
      call: "run",
      detail: "no mapping covers the address",
      kernel: "lookup",
      invocation: 7,
      access: "write",
      address: 0xdead0000,
    });
    expect(error).toMatchObject({ kernel: "lookup", invocation: 7, access: "write" });
    expect(error.errno).toBe(EFAULT);
    expect(error.message).toBe(
      "run: no mapping covers the address " +
        "[kernel lookup, invocation 7, write, at 0xdead0000] (EFAULT)",
    );
  });

  it("does not show what a plain error has no use for", () => {
    expect(Object.keys(invalid("free", "x"))).not.toContain("kernel");
  });
});

describe("errorCode", () => {
  it("names an errno of either sign and calls an unknown one EIO", () => {
    expect(errorCode(-ENOMEM)).toBe("ENOMEM");
    expect(errorCode(ENOMEM)).toBe("ENOMEM");
    expect(errorCode(-9999)).toBe("EIO");
  });
});
