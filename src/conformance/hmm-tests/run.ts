/** Runs the tests on each kind of device and sums up. */
import { performance } from "node:perf_hooks";
import { KERNEL_TESTS, OWN_TESTS } from "./all-tests.ts";
import { type DeviceKind, type HmmTest, Stage } from "./stage.ts";

export interface HmmTestRow {
  readonly name: string;
  readonly device: DeviceKind;
  readonly result: "pass" | "fail" | "skip";
  /** Why it failed or was skipped. */
  readonly reason?: string;
  readonly checks: string;
  readonly ms: number;
}

export interface HmmTestReport {
  readonly tests: number;
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  readonly rows: readonly HmmTestRow[];
}

const KINDS: readonly DeviceKind[] = ["private", "coherent"];

/** Every test, on every kind of device. `onRow` is called after each. */
export function runHmmTests(options: { onRow?: (row: HmmTestRow) => void } = {}): HmmTestReport {
  const rows: HmmTestRow[] = [];
  for (const test of [...KERNEL_TESTS, ...OWN_TESTS]) {
    for (const kind of KINDS) {
      const row = runTest(test, kind);
      rows.push(row);
      options.onRow?.(row);
    }
  }
  const count = (result: HmmTestRow["result"]): number =>
    rows.filter((row) => row.result === result).length;
  const [passed, failed, skipped] = [count("pass"), count("fail"), count("skip")];
  return { tests: rows.length, passed, failed, skipped, rows };
}

/** One test on one kind of device; whatever it throws is its failure. @forTests */
export function runTest(test: HmmTest, device: DeviceKind): HmmTestRow {
  const { name, checks } = test;
  const skipped = test.skips?.[device];
  if (skipped !== undefined) {
    return { name, device, result: "skip", reason: skipped, checks, ms: 0 };
  }
  const start = performance.now();
  const reason = failureOf(test, device);
  const ms = Math.round((performance.now() - start) * 10) / 10;
  if (reason === undefined) return { name, device, result: "pass", checks, ms };
  return { name, device, result: "fail", reason, checks, ms };
}

function failureOf(test: HmmTest, kind: DeviceKind): string | undefined {
  const stages: Stage[] = [];
  try {
    test.run((options) => {
      // One stage at a time: the one before has to be left in order.
      stages.pop()?.finish();
      const stage = new Stage(kind, options);
      stages.push(stage);
      return stage;
    });
    stages.pop()?.finish();
    return undefined;
  } catch (error) {
    return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  }
}
