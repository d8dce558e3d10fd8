/** The kernel's 29 self tests of HMM and our own, on devices of both kinds. */
import { describe, expect, it } from "vitest";
import { runHmmTests, runTest } from "../../src/conformance/hmm-tests/index.ts";
import { type HmmTest, PAGES } from "../../src/conformance/hmm-tests/stage.ts";
import { counted, countedFrom } from "../../src/conformance/hmm-tests/words.ts";
import { VM_READ } from "../../src/mm/index.ts";

/** In the order of tools/testing/selftests/mm/hmm-tests.c of Linux 6.12, then ours. */
const NAMES = [
  ...["hmm.open_close", "hmm.anon_read", "hmm.anon_read_prot", "hmm.anon_write"],
  ...["hmm.anon_write_prot", "hmm.anon_write_child", "hmm.anon_write_child_shared"],
  ...["hmm.anon_write_huge", "hmm.anon_write_hugetlbfs", "hmm.file_read", "hmm.file_write"],
  ...["hmm.migrate", "hmm.migrate_file_private", "hmm.migrate_fault", "hmm.migrate_release"],
  ...["hmm.migrate_shared", "hmm2.migrate_mixed", "hmm.migrate_multiple"],
  ...["hmm.anon_read_multiple", "hmm.anon_teardown", "hmm.mixedmap", "hmm2.snapshot"],
  ...["hmm.compound", "hmm2.double_map", "hmm.exclusive", "hmm.exclusive_mprotect"],
  ...["hmm.exclusive_cow", "hmm.hmm_gup_test", "hmm.hmm_cow_in_device"],
  ...["onespace.A-30", "onespace.A-31", "onespace.A-32", "onespace.A-33", "onespace.A-34"],
  ...["onespace.A-35", "onespace.A-36", "onespace.A-37", "onespace.A-38"],
];

describe("the self tests of HMM", () => {
  it("pass on private and coherent devices, all of them", () => {
    const { rows, ...sums } = runHmmTests();
    expect(rows.filter((row) => row.result === "fail")).toEqual([]);
    expect(rows.map(({ name, device }) => `${name} ${device}`)).toEqual(
      NAMES.flatMap((name) => [`${name} private`, `${name} coherent`]),
    );
    const skipped = rows.filter((row) => row.result === "skip");
    expect(skipped.map(({ name, device, reason }) => [name, device, reason])).toEqual([
      ["onespace.A-35", "coherent", "the CPU touches coherent pages where they are"],
    ]);
    expect(sums).toEqual({ tests: 76, passed: 75, failed: 0, skipped: 1 });
  }, 300_000);
});

/** Tests that must fail: each expects what is not so, or leaves something behind. */
const WRONG: readonly (HmmTest & { readonly reason: RegExp })[] = [
  {
    name: "a wrong word",
    checks: "the last word of a buffer counts",
    reason: /word 1048575: 1048575, not 0/,
    run(open) {
      const buffer = open().main.map(PAGES);
      buffer.store(counted);
      buffer.expect("CPU", (index) => (index === PAGES * 1024 - 1 ? 0 : index));
    },
  },
  {
    name: "a stale word on the device",
    checks: "every word that a device has is looked at",
    reason: /device memory, word 0: 0, not 1/,
    run(open) {
      const buffer = open().main.map(2);
      buffer.store(counted);
      buffer.moveToDevice(countedFrom(1));
    },
  },
  {
    name: "a write that is not allowed",
    checks: "the CPU's faults count",
    reason: /CPU writes page 0: EFAULT, not 0/,
    run: (open) => open().main.map(1, { flags: VM_READ }).store(counted),
  },
  {
    name: "a frame that nobody gives back",
    checks: "nothing may be left",
    reason: /AssertionError/,
    run(open) {
      open().world.memory.allocFrame();
    },
  },
  {
    name: "a stage in the middle of a test",
    checks: "each stage is left in order",
    reason: /AssertionError/,
    run(open) {
      open().world.memory.allocFrame();
      open();
    },
  },
];

describe("a self test", () => {
  it.each(WRONG)("fails: $name ($checks)", (test) => {
    const row = runTest(test, "private");
    expect(row.result).toBe("fail");
    expect(row.reason).toMatch(test.reason);
  });

  it("says why it is skipped", () => {
    const test: HmmTest = { ...WRONG[0]!, skips: { coherent: "no such thing" } };
    expect(runTest(test, "coherent")).toMatchObject({ result: "skip", reason: "no such thing" });
  });
});
