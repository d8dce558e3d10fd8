/**
 * Where something lies: what every call takes that is about a piece of memory, and the one check
 * of it. Bytes are never rounded; calls that need whole pages say so themselves.
 */
import { formatAddress, isPageAligned, PAGE_SIZE, SPACE_BYTES } from "../../base/index.ts";
import { invalid } from "../error.ts";
import { addressOf, show, showAddress } from "../given.ts";

/** An address and how many bytes begin there. */
export interface MemoryRange {
  readonly start: number;
  readonly bytes: number;
}

/**
 * A range; a view that `space.array`, `at` or `alloc` made; or any typed array, DataView or Buffer
 * on the window, of any length, also none.
 */
export type Place =
  | MemoryRange
  | { readonly address: number; readonly bytes: number }
  | ArrayBufferView<ArrayBufferLike>;

/** Where `place` lies, any alignment. EINVAL when that is not memory of this window. */
export function rangeOf(call: string, window: SharedArrayBuffer, place: Place): MemoryRange {
  if (typeof place !== "object" || place === null) {
    const rule = "{ start, bytes }, a view or a typed array on the window";
    throw invalid(call, `range must be ${rule}, got ${show(place)}`);
  }
  if (ArrayBuffer.isView(place)) return rangeOfView(call, window, place);
  if ("start" in place) checkKeys(call, place);
  const given: unknown = "start" in place ? place.start : place.address;
  const start = asAddress(given as number);
  const { bytes } = place;
  if (!Number.isInteger(start) || start < 0 || start >= SPACE_BYTES) {
    throw invalid(call, `start must be an address in the space, got ${showAddress(given)}`);
  }
  if (!Number.isInteger(bytes) || bytes < 0) {
    throw invalid(call, `bytes must be an integer of at least 0, got ${show(bytes)}`);
  }
  if (start + bytes > SPACE_BYTES) {
    throw invalid(call, `${formatAddress(start)} + ${bytes} bytes leaves the space`);
  }
  return { start, bytes };
}

/** A range that is written out has nothing that nobody would look at. */
function checkKeys(call: string, range: MemoryRange): void {
  if (Object.getPrototypeOf(range) !== Object.prototype) return;
  const unknown = Object.keys(range).find((key) => key !== "start" && key !== "bytes");
  if (unknown === undefined) return;
  throw invalid(call, `range has an unknown member ${unknown} (known: start, bytes)`);
}

function rangeOfView(
  call: string,
  window: SharedArrayBuffer,
  view: ArrayBufferView<ArrayBufferLike>,
): MemoryRange {
  if (view.buffer === window) return { start: view.byteOffset, bytes: view.byteLength };
  const what = `a ${view.constructor.name} of ${view.byteLength} bytes`;
  const rule = "lie on the window of this space (space.window)";
  throw invalid(call, `a typed array must ${rule}, got ${what} on other memory`);
}

/** Whole pages, at least one. */
export function pagesOf(call: string, given: number, bytes: number): MemoryRange {
  const address = pageAddress(call, given);
  checkCount(call, "bytes", bytes);
  if (bytes % PAGE_SIZE !== 0) {
    throw invalid(call, `bytes must be a multiple of ${PAGE_SIZE}, got ${bytes}`);
  }
  if (address + bytes > SPACE_BYTES) {
    throw invalid(call, `${formatAddress(address)} + ${bytes} bytes leaves the space`);
  }
  return { start: address, bytes };
}

export function checkCount(call: string, name: string, value: number): void {
  if (Number.isInteger(value) && value > 0 && value <= SPACE_BYTES) return;
  throw invalid(call, `${name} must be an integer above 0, got ${show(value)}`);
}

/** The address of a page. */
export function pageAddress(call: string, given: number): number {
  const address = asAddress(given);
  const isAddress = Number.isInteger(address) && address >= 0 && address < SPACE_BYTES;
  if (isAddress && isPageAligned(address)) return address;
  const got = showAddress(given);
  const hint = addressOf(given) === undefined ? "" : ": pass its .address";
  throw invalid(call, `address must be a multiple of ${PAGE_SIZE} in the space, got ${got}${hint}`);
}

/** The whole pages within some bytes, and the rest of them at both ends. */
export interface Cut {
  readonly pages: MemoryRange | undefined;
  readonly edges: readonly MemoryRange[];
}

export function cutIntoPages({ start, bytes }: MemoryRange): Cut {
  const end = start + bytes;
  const first = Math.ceil(start / PAGE_SIZE) * PAGE_SIZE;
  const last = Math.floor(end / PAGE_SIZE) * PAGE_SIZE;
  if (first >= last) {
    // Less than a page, perhaps over a border.
    return { pages: undefined, edges: bytes > 0 ? [{ start, bytes }] : [] };
  }
  const edges = [
    { start, bytes: first - start },
    { start: last, bytes: end - last },
  ];
  return {
    pages: { start: first, bytes: last - first },
    edges: edges.filter((edge) => edge.bytes > 0),
  };
}

/** What one call brings at most: 16 MiB, some 15 ms. */
const PIECE_BYTES = 2 ** 24;

/** One at a time, so that nobody else's fault waits for all of them. */
export function* piecesOf<Range extends MemoryRange>(whole: Range): Iterable<Range> {
  const end = whole.start + whole.bytes;
  for (let start = whole.start; start < end; ) {
    const next = Math.min(end, (Math.floor(start / PIECE_BYTES) + 1) * PIECE_BYTES);
    yield { ...whole, start, bytes: next - start };
    start = next;
  }
}

const I32_MIN = -(2 ** 31);

/**
 * The address that `given` means. WebAssembly's pointers are i32 in JavaScript, negative from
 * 2 GiB up: every call that takes an address takes both forms. What is none stays as it is, for
 * who checks and says so.
 */
export const asAddress = (given: number): number =>
  Number.isInteger(given) && given < 0 && given >= I32_MIN ? given >>> 0 : given;
