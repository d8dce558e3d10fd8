import { describe, expect, it } from "vitest";
import { virtAddr, vpn } from "../../base/index.ts";
import { WaitingFaults } from "./waiting-faults.ts";

const access = (page: number, thread: number, write = false, sinceMs = 0) => ({
  page: vpn(page),
  thread,
  write,
  sinceMs,
  address: virtAddr(page * 4096 + 8),
});

describe("threads that wait in a page fault", () => {
  it("are gathered by page, which is wanted for writing when one of them writes", () => {
    const waiting = new WaitingFaults();
    const fault = waiting.add(access(3, 101));
    expect(fault.write).toBe(false);
    expect(waiting.add(access(3, 102, true))).toBe(fault);
    expect(waiting.add(access(4, 103))).not.toBe(fault);
    expect([fault.write, [...waiting].map(({ thread }) => thread)]).toEqual([
      true,
      [101, 102, 103],
    ]);
    waiting.remove(fault);
    expect([...waiting].map(({ page }) => page)).toEqual([4]);
  });

  it("wait for one thing each: the last that was told", () => {
    const waiting = new WaitingFaults();
    const fault = waiting.add(access(3, 101, true));
    fault.accesses[0]!.isBad = true;
    expect([fault.write, fault.served]).toEqual([false, []]);
    waiting.add(access(3, 101, false, 5));
    expect([...waiting]).toMatchObject([{ thread: 101, write: false, sinceMs: 5, isBad: false }]);
  });

  it("know how long the longest wait has lasted", () => {
    const waiting = new WaitingFaults();
    expect(waiting.oldestMs(1000)).toBe(0);
    waiting.add(access(3, 101, false, 40));
    waiting.add(access(4, 102, false, 10));
    expect(waiting.oldestMs(50)).toBe(40);
  });
});
