/** What becomes of the answers about a piece of memory: an error that says which, and why. */
import {
  EBUSY,
  EEXIST,
  EFAULT,
  ENOMEM,
  errnoName,
  formatAddress,
  type Result,
  SPACE_BYTES,
} from "../../base/index.ts";
import { MMAP_MIN_ADDR } from "../../mm/index.ts";
import type { Ask, Outcome } from "../engine/index.ts";
import { errorCode, type HmmError, hmmError, invalid } from "../error.ts";
import { show, showAddress } from "../given.ts";
import type { Access } from "./access.ts";
import { asAddress, type MemoryRange } from "./place.ts";
import type { MmapOptions } from "./rights.ts";

/** Why what the program wants cannot be, where the engine has no better answer. */
function why(result: Result): string {
  if (result === -ENOMEM) return "there is no memory left for it";
  if (result === -EBUSY) return "others take its pages again and again";
  if (result === -EFAULT) return "the program may not do that there";
  return errnoName(result);
}

/** `isHeap`: some of the addresses that were wanted are the heap's. */
export function notMapped(
  call: string,
  result: Result,
  options: MmapOptions,
  isHeap: boolean,
): HmmError {
  const { bytes, address } = options;
  const where = address === undefined ? "" : ` at ${formatAddress(asAddress(address))}`;
  const detail = `cannot map ${bytes} bytes${where}: ${whyNotMapped(result, options, isHeap)}`;
  return hmmError({ code: errorCode(result), call, detail });
}

function whyNotMapped(result: Result, { bytes, address }: MmapOptions, isHeap: boolean): string {
  if (result === -EEXIST) return isHeap ? "the heap is there" : "something is mapped there";
  if (result !== -ENOMEM) return why(result);
  if (address === undefined) return "no run of free addresses is that long";
  const start = asAddress(address);
  if (start + bytes > SPACE_BYTES) return "that leaves the space";
  if (start >= MMAP_MIN_ADDR) return why(result);
  return `nothing may lie below ${formatAddress(MMAP_MIN_ADDR)}, where null pointers lead`;
}

export function zero(held: Access): void {
  held.bytes.fill(0);
  held.close();
}

/** `what` the program wanted to touch; throws unless it may. */
export function touched(call: string, outcome: Outcome, what: Ask<"access">): void {
  const { result, address, reason = why(result) } = outcome;
  if (result >= 0) return;
  const access = what.write ? "write" : "read";
  throw hmmError({
    code: errorCode(result),
    call,
    detail: `cannot ${access} ${what.bytes} bytes at ${formatAddress(what.start)}: ${reason}`,
    access,
    ...(address === undefined ? {} : { address }),
  });
}

/** Bytes that a plain load or store cannot mean. */
export function notInSpace(address: number, bytes: number, write: boolean): HmmError {
  const detail = `${showAddress(address)} + ${show(bytes)} bytes is not in the space`;
  return hmmError({ code: "EFAULT", call: write ? "store" : "load", detail });
}

/** A plain load or store cannot wait where the CPU has no page faults. */
export function mustWait(address: number, write: boolean): HmmError {
  const call = write ? "store" : "load";
  const detail = "the page is on a device or in use; open a bracket: await space.access(…)";
  return hmmError({ code: "EAGAIN", call, detail, address, access: write ? "write" : "read" });
}

/** `range` was to be unmapped, protected, advised or discarded. */
export function throwIf({ result, address }: Outcome, call: string, range: MemoryRange): void {
  if (result >= 0) return;
  const bytes = `${range.bytes} bytes at ${formatAddress(range.start)}`;
  const detail = `cannot do that with ${bytes}: ${whyNotChanged(result, address)}`;
  throw hmmError({ code: errorCode(result), call, detail, address: range.start });
}

function whyNotChanged(result: Result, address: number | undefined): string {
  if (address === undefined) return why(result);
  if (result === -EBUSY) return `an access bracket is open at ${formatAddress(address)}`;
  return `nothing is mapped at ${formatAddress(address)}`;
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
