/**
 * Writes what a test run came to, as one JSON object, when the run ends. A file that could not
 * be loaded and an error outside any test each count as one failure: they hide tests.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import type { Reporter, SerializedError, TestModule, TestSuite } from "vitest/node";

export interface TestCounts {
  passed: number;
  failed: number;
  /** Each skipped test's name, with the reason where the test gave one. */
  skipped: string[];
}

export class CountReporter implements Reporter {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly SerializedError[]): void {
    const counts: TestCounts = { passed: 0, failed: unhandled.length, skipped: [] };
    for (const module of modules) countModule(module, counts);
    mkdirSync(dirname(this.#path), { recursive: true });
    writeFileSync(this.#path, `${JSON.stringify(counts)}\n`);
  }
}

function countModule(module: TestModule, counts: TestCounts): void {
  if (module.errors().length > 0) counts.failed++;
  for (const suite of module.children.allSuites()) countSuite(suite, counts);
  for (const test of module.children.allTests()) {
    const result = test.result();
    if (result.state === "passed") counts.passed++;
    else if (result.state === "skipped") counts.skipped.push(skipLine(test.fullName, result.note));
    else counts.failed++;
  }
}

/** A suite fails by itself when one of its hooks throws: its tests are then not run. */
function countSuite(suite: TestSuite, counts: TestCounts): void {
  if (suite.errors().length > 0) counts.failed++;
}

function skipLine(name: string, note: string | undefined): string {
  return note === undefined ? name : `${name}: ${note}`;
}
