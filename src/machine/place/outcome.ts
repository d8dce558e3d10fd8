/** What becomes of the answers about a piece of memory: an error that says which, and why. */
import { EBUSY, formatAddress, type Result } from "../../base/index.ts";
import type { Ask, Outcome } from "../engine/index.ts";
import { errorCode, type HmmError, hmmError, invalid } from "../error.ts";
import type { Access, AccessMode } from "./access.ts";
import type { MemoryRange } from "./place.ts";
import type { MmapOptions } from "./rights.ts";

export function mapped(call: string, result: Result, { bytes, address }: MmapOptions): number {
  if (result >= 0) return result;
  const where = address === undefined ? "" : ` at ${formatAddress(address)}`;
  const detail = `cannot map ${bytes} bytes${where}`;
  throw hmmError({ code: errorCode(result), call, detail });
}

export function zero(held: Access): void {
  held.bytes.fill(0);
  held.close();
}

export function touched(
  call: string,
  outcome: Outcome,
  ask: Ask<"access">,
  mode: AccessMode,
): void {
  const { result, address } = outcome;
  if (result >= 0) return;
  throw hmmError({
    code: errorCode(result),
    call,
    detail: `cannot ${mode} ${ask.bytes} bytes at ${formatAddress(ask.start)}`,
    access: mode,
    ...(address === undefined ? {} : { address }),
  });
}

export function throwIf({ result, address }: Outcome, call: string, range: MemoryRange): void {
  if (result >= 0) return;
  if (result === -EBUSY && address !== undefined) throw busy(call, range.start, address);
  const detail = `${range.bytes} bytes at ${formatAddress(range.start)} are not all mapped`;
  throw hmmError({ code: errorCode(result), call, detail, address: range.start });
}

function busy(call: string, address: number, bracket: number): HmmError {
  const detail = `an access bracket is open at ${formatAddress(bracket)}`;
  return hmmError({ code: "EBUSY", call, detail, address });
}

/** What to do instead with pages of the heap, which anybody's blocks may lie in. */
const INSTEAD: Readonly<Record<string, string>> = {
  munmap: "free its blocks instead",
  mprotect: "its blocks can always be read and written; protect what mmap gave",
  discard: "discard a view or { start, bytes } of a block instead",
};

/** For pages that calls about whole mappings must leave as they are: `malloc` gives them out. */
export function refusedHeap(call: string, heap: { start: number; end: number }): HmmError {
  const range = `${formatAddress(heap.start)}..${formatAddress(heap.end)}`;
  return invalid(call, `the heap lies at ${range}: ${INSTEAD[call.replace("Sync", "")]}`);
}

/** The same for those of an adopted module, which ends at `limit`. */
export function refusedModule(call: string, limit: number): HmmError {
  const range = `${formatAddress(0)}..${formatAddress(limit)}`;
  return invalid(call, `an adopted module has ${range}, and would not survive it`);
}
