/**
 * From the fault records of a round to blocks: sorted, without duplicates, merged, and
 * refused where the program has no right to be. Plain code, under mmapLock.
 */
import {
  EFAULT,
  EINVAL,
  EPERM,
  type Result,
  type VirtAddr,
  type Vpn,
  virtAddr,
  vpn,
  vpnOf,
} from "../../base/index.ts";
import { type Block, MIGRATION_PAGES, type Want } from "../../device/index.ts";
import { type AddressSpace, MMAP_MIN_ADDR, VM_READ, VM_WRITE, type Vma } from "../../mm/index.ts";

/** Bits of the second word of a fault record, as the shader writes them. */
const FAULT_RECORD_WRITE = 1 << 0;
const FAULT_RECORD_MISALIGNED = 1 << 1;
/** Asked for by an invocation that had missed a page before: perhaps nonsense. */
const FAULT_RECORD_GUESS = 1 << 2;
/**
 * Beside it: by one of a group that had missed nothing itself, while another had. It may be what
 * the other made of zeros, but most often it is not.
 */
const FAULT_RECORD_LEANS = 1 << 3;
const FLAG_BITS = 4;

/** A page that faulted for certain, and the address that did. */
interface FaultedPage extends Want {
  readonly address: VirtAddr;
}

/** Pages that are served together; what faulted for certain is wanted, in order. */
export interface FaultBlock extends Block {
  end: Vpn;
  /** "move": some page of it is written. */
  readonly how: "copy" | "move";
  readonly wanted: FaultedPage[];
}

/** Why a launch cannot go on. */
export interface Refusal {
  readonly result: Result;
  readonly address: VirtAddr;
  readonly write: boolean;
  readonly reason: string;
}

/** So many blocks in one round are a scattered access: see `narrow`. */
const SCATTERED_BLOCKS = 32;

interface WantedPage {
  readonly page: Vpn;
  readonly address: VirtAddr;
  /** Of what was asked for certain; -1 when the page is only a guess. */
  flags: number;
  /** A guess says that it will be written too. */
  mayBeWritten: boolean;
  /** All who asked lean on others: no reason to refuse anything. */
  leans: boolean;
}

export interface PlanOptions {
  /** A power of two: how many pages, aligned, are served with one that faulted. */
  readonly around: number;
  /** Whether guesses are worth serving. */
  readonly guesses: boolean;
  /** Whether what leans on others is wanted as what is certain; else it is a guess. */
  readonly leaning: boolean;
}

/** `records` holds pairs (address, flags). The caller holds mmapLock. */
export function planBlocks(
  space: AddressSpace,
  records: Uint32Array,
  options: PlanOptions,
): FaultBlock[] | Refusal {
  space.mmapLock.assertHeld();
  const blocks: FaultBlock[] = [];
  let vma: Vma | undefined;
  for (const wanted of wantedPages(records, options.leaning)) {
    const { page, address, flags, leans } = wanted;
    const isGuess = flags < 0;
    if (isGuess && !options.guesses) continue;
    if (vma === undefined || address < vma.start || address >= vma.end) {
      vma = space.vmas.find(address);
    }
    const asked = isGuess ? (wanted.mayBeWritten ? FAULT_RECORD_WRITE : 0) : flags;
    const refusal = refuse(vma, address, asked);
    if (refusal !== undefined && !isGuess && !leans) return refusal;
    if (refusal !== undefined || vma === undefined) continue;
    const willWrite = wanted.mayBeWritten && vma.allows(VM_WRITE);
    const write = (asked & FAULT_RECORD_WRITE) !== 0 || willWrite;
    addToBlocks(blocks, { page, address, write, vma, around: options.around, isGuess });
  }
  return mergeNeighbours(blocks.length > SCATTERED_BLOCKS ? narrow(blocks) : blocks);
}

/**
 * Many blocks, and of this one a single page was asked for: its neighbours would be a waste of
 * copies and frames. Few blocks are served whole, whatever they hold: that saves rounds.
 */
function narrow(blocks: FaultBlock[]): FaultBlock[] {
  return blocks.flatMap((block) => {
    if (block.wanted.length > 1) return [block];
    const page = block.wanted[0]?.page;
    return page === undefined ? [] : [{ ...block, start: page, end: vpn(page + 1) }];
  });
}

/** Sorted by address; one row a page, a write wins over a read, certainty over a guess. */
function wantedPages(records: Uint32Array, leaning: boolean): WantedPage[] {
  const keys = new Float64Array(records.length >>> 1);
  const kinds = 1 << FLAG_BITS;
  for (let i = 0; i < keys.length; i++) {
    keys[i] = records[2 * i]! * kinds + (records[2 * i + 1]! & (kinds - 1));
  }
  keys.sort();
  const wanted: WantedPage[] = [];
  for (const key of keys) {
    const address = virtAddr(Math.floor(key / kinds));
    const page = vpnOf(address);
    const record = key % kinds;
    const leans = (record & FAULT_RECORD_LEANS) !== 0 && leaning;
    const isUnsure = (record & FAULT_RECORD_GUESS) !== 0;
    const isGuess = isUnsure && !leans;
    const mayBeWritten = isUnsure && (record & FAULT_RECORD_WRITE) !== 0;
    const flags = leans ? 0 : record;
    const last = wanted[wanted.length - 1];
    if (last?.page !== page) {
      wanted.push({ page, address, flags: isGuess ? -1 : flags, mayBeWritten, leans });
      continue;
    }
    last.mayBeWritten ||= mayBeWritten;
    if (isGuess) continue;
    if (last.flags < 0) wanted[wanted.length - 1] = { ...last, address, flags, leans };
    else if (last.leans && !leans) wanted[wanted.length - 1] = { ...last, address, flags, leans };
    else if (!leans) last.flags |= flags;
  }
  return wanted;
}

function refuse(vma: Vma | undefined, address: VirtAddr, flags: number): Refusal | undefined {
  const write = (flags & FAULT_RECORD_WRITE) !== 0;
  const because = (result: Result, reason: string): Refusal => ({ result, address, write, reason });
  if (flags & FAULT_RECORD_MISALIGNED)
    return because(-EINVAL, "it is not a multiple of 4 (16 bits: of 2)");
  if (vma === undefined) {
    const isNull = address < MMAP_MIN_ADDR;
    return because(-EFAULT, isNull ? "it is a null pointer" : "no memory is mapped there");
  }
  if (!vma.allows(VM_READ)) return because(-EFAULT, "the memory there allows no access");
  if (write && !vma.allows(VM_WRITE)) return because(-EPERM, "the memory there is read-only");
  return undefined;
}

function addToBlocks(
  blocks: FaultBlock[],
  fault: FaultedPage & {
    readonly vma: Vma;
    readonly around: number;
    readonly isGuess: boolean;
  },
): void {
  const { page, address, write, vma, around, isGuess } = fault;
  const first = Math.floor(page / around) * around;
  const start = vpn(Math.max(first, vpnOf(vma.start)));
  const how = write ? "move" : "copy";
  let block = blocks[blocks.length - 1];
  if (block?.start !== start) {
    const end = vpn(Math.min(first + around, vpnOf(vma.end)));
    block = { start, end, how, wanted: [] };
    blocks.push(block);
  } else if (write && block.how === "copy") {
    block = { ...block, how };
    blocks[blocks.length - 1] = block;
  }
  if (!isGuess) block.wanted.push({ page, write, address });
}

/** Blocks that touch, of one kind, become one. */
function mergeNeighbours(blocks: FaultBlock[]): FaultBlock[] {
  const merged: FaultBlock[] = [];
  for (const block of blocks) {
    const last = merged[merged.length - 1];
    const fits =
      last !== undefined &&
      last.end === block.start &&
      last.how === block.how &&
      block.end - last.start <= MIGRATION_PAGES;
    if (fits) {
      last.end = block.end;
      last.wanted.push(...block.wanted);
    } else merged.push(block);
  }
  return merged;
}
