import { describe, expect, it } from "vitest";
import { RefCount } from "./ref-count.ts";

describe("a reference count", () => {
  it("tells the one who gives back the last reference", () => {
    const users = new RefCount("a space");
    users.get();
    expect([users.count, users.put(), users.put()]).toEqual([2, false, true]);
  });

  it("never comes back from zero", () => {
    const users = new RefCount("a space");
    users.put();
    expect(users.getUnlessZero()).toBe(false);
    expect(() => users.get()).toThrow(/a space is gone/);
    expect(() => users.put()).toThrow(/once too often/);
    expect(users.count).toBe(0);
  });

  it("can be taken while somebody has one", () => {
    const users = new RefCount("a space");
    expect([users.getUnlessZero(), users.count]).toEqual([true, 2]);
  });
});
