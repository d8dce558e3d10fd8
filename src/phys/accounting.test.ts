import { describe, expect, it } from "vitest";
import { ENOMEM } from "../base/index.ts";
import { MemoryGroup } from "./accounting.ts";

describe("a memory group", () => {
  it("charges up to its limit, all or nothing", () => {
    const group = new MemoryGroup("tenants", 3);
    expect([group.charge(2), group.charge(2), group.chargedPages]).toEqual([0, -ENOMEM, 2]);
    expect([group.charge(1), group.chargedPages]).toEqual([0, 3]);
    group.uncharge(3);
    expect(group.chargedPages).toBe(0);
  });

  it("is never uncharged below zero", () => {
    expect(() => new MemoryGroup("tenants").uncharge(1)).toThrow(/below 0/);
  });
});
