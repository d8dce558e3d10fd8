/** What a test demands, and what is said when it does not get it. */
import { errnoName, type Result } from "../../base/index.ts";
import type { DmirrorResult } from "../../driver/dmirror/index.ts";

/** A test did not get what it demands. */
class TestFailure extends Error {
  override readonly name = "TestFailure";
}

export function fail(reason: string): never {
  throw new TestFailure(reason);
}

export function expectSame(what: string, got: unknown, wanted: unknown): void {
  const [here, there] = [got, wanted].map((each) => JSON.stringify(each));
  if (here !== there) fail(`${what}: ${here}, not ${there}`);
}

/** The device did it, all of `pages`, with so many rounds of faults (undefined: as may be). */
export function expectDone(
  what: string,
  done: DmirrorResult,
  pages: number,
  faults?: number,
): void {
  if (done.result < 0) fail(`${what}: ${errnoName(done.result)}`);
  expectSame(`${what}, pages`, done.pages, pages);
  if (faults !== undefined) expectSame(`${what}, rounds of faults`, done.faults, faults);
}

/** The device refused, with this errno (positive). */
export function expectError(what: string, done: DmirrorResult, errno: number): void {
  expectResult(what, done.result, -errno);
}

export function expectResult(what: string, got: Result, wanted: Result): void {
  if (got !== wanted) fail(`${what}: ${named(got)}, not ${named(wanted)}`);
}

const named = (result: Result): string => (result < 0 ? errnoName(result) : String(result));
