/**
 * One process of a trace: a space, a CPU, and a mirror on each device; and what each recorded
 * operation does with them. Addresses are a slot and a page in it.
 */
import {
  EFAULT,
  EIO,
  errnoName,
  PAGE_SIZE,
  type Result,
  type VirtAddr,
  virtAddr,
  vpn,
  vpnOf,
} from "../base/index.ts";
import { SoftCpu } from "../cpu/index.ts";
import { Dmirror, type DmirrorDevice, type DmirrorResult } from "../driver/index.ts";
import {
  AddressSpace,
  Advice,
  CachedFile,
  fork,
  isPresent,
  MapMode,
  type Memory,
  type MmapOptions,
  madvise,
  mmap,
  mmput,
  mprotect,
  mremap,
  munmap,
  PTE_HUGE,
  type Pte,
  ptePfn,
  VM_READ,
  VM_WRITE,
} from "../mm/index.ts";
import { PG_ANON, ZERO_PFN } from "../phys/index.ts";
import type { Sleeps } from "../sync/index.ts";

/** What an operation answered, in the words of the traces. */
export type Answer = Readonly<Record<string, unknown>>;

type Args = readonly (string | number)[];

/** Slots lie 256 MiB apart, 2 MiB aligned. */
const SLOT_BYTES = 0x1000_0000;
const SLOT_BASE = 0x1000_0000;

const RIGHTS: Readonly<Record<string, number>> = {
  rw: VM_READ | VM_WRITE,
  r: VM_READ,
  none: 0,
};

export class Actor {
  readonly space: AddressSpace;
  readonly cpu: SoftCpu;
  readonly mirrors: readonly Dmirror[];
  readonly #devices: readonly DmirrorDevice[];

  private constructor(space: AddressSpace, devices: readonly DmirrorDevice[]) {
    this.space = space;
    this.#devices = devices;
    this.cpu = new SoftCpu(this.space);
    this.mirrors = devices.map((device) => {
      const mirror = Dmirror.open(device, this.space);
      if (typeof mirror === "number") throw new Error(`cannot open a device: ${mirror}`);
      return mirror;
    });
  }

  static open(memory: Memory, devices: readonly DmirrorDevice[]): Actor {
    return new Actor(new AddressSpace(memory), devices);
  }

  /** A child with the same memory, which opens the devices for itself. */
  *fork(): Sleeps<Actor> {
    const space = yield* fork(this.space);
    if (typeof space === "number") throw new Error(`cannot fork: ${errnoName(space)}`);
    return new Actor(space, this.#devices);
  }

  /** Runs one operation; undefined when this version does not know it. */
  *run(op: string, args: Args): Sleeps<Answer | undefined> {
    const operation = OPERATIONS[op];
    return operation === undefined ? undefined : yield* operation(this, args);
  }

  /** The memory goes first, then what was open. */
  *exit(): Sleeps<void> {
    yield* mmput(this.space);
    for (const mirror of this.mirrors) yield* mirror.close();
    this.cpu.dispose();
  }
}

type Operation = (actor: Actor, args: Args) => Sleeps<Answer | undefined>;

const OPERATIONS: Readonly<Record<string, Operation>> = {
  *mmap(actor, args) {
    return yield* mapKind(actor, args);
  },
  *munmap(actor, args) {
    return answer(yield* munmap(actor.space, addressOf(args, 0, 1), bytesOf(args[2])));
  },
  *mprotect(actor, args) {
    const rights = RIGHTS[String(args[3])]!;
    return answer(yield* mprotect(actor.space, addressOf(args, 0, 1), bytesOf(args[2]), rights));
  },
  *mremap(actor, args) {
    const result = yield* mremap(actor.space, {
      start: addressOf(args, 0, 1),
      bytes: bytesOf(args[2]),
      newStart: addressOf(args, 3),
      newBytes: bytesOf(args[4]),
    });
    return answer(result);
  },
  *madvise(actor, args) {
    const advice = String(args[3]) as Advice;
    return answer(yield* madvise(actor.space, addressOf(args, 0, 1), bytesOf(args[2]), advice));
  },
  *store(actor, args) {
    const value = BigInt(`0x${args[2]}`);
    const address = addressOf(args, 0, 1);
    const low = yield* actor.cpu.store(address, Number(value & 0xffffffffn));
    if (low < 0) return signal(low);
    return signal(yield* actor.cpu.store(virtAddr(address + 4), Number(value >> 32n)));
  },
  *load(actor, args) {
    const address = addressOf(args, 0, 1);
    const low = yield* actor.cpu.load(address);
    if (typeof low === "number") return signal(low);
    const high = yield* actor.cpu.load(virtAddr(address + 4));
    if (typeof high === "number") return signal(high);
    return { r: "OK", v: hex(low.value, high.value) };
  },
  *pagemap(actor, args) {
    const first = vpnOf(addressOf(args, 0, 1));
    let map = "";
    for (let i = 0; i < Number(args[2]); i++) {
      map += pagemapLetter(actor, actor.space.pageTable.get(vpn(first + i)));
    }
    return { r: "OK", m: map };
  },
  *snapshot(actor, args) {
    const out = new Uint8Array(Number(args[3]));
    const done = yield* mirrorOf(actor, args).snapshot(addressOf(args, 1, 2), out.length, out);
    return deviceAnswer(done, { s: Buffer.from(out).toString("hex") });
  },
  *dev_read(actor, args) {
    const values: string[] = [];
    const done = yield* mirrorOf(actor, args).read(
      addressOf(args, 1, 2),
      Number(args[3]),
      (_page, bytes) => values.push(firstWord(bytes)),
    );
    return deviceAnswer(done, { v: values });
  },
  *dev_write(actor, args) {
    let value = BigInt(`0x${args[4]}`);
    const done = yield* mirrorOf(actor, args).write(
      addressOf(args, 1, 2),
      Number(args[3]),
      (_page, bytes) => {
        bytes.fill(0);
        new DataView(bytes.buffer, bytes.byteOffset).setBigUint64(0, value++, true);
      },
    );
    return deviceAnswer(done, {});
  },
  *to_dev(actor, args) {
    const values: string[] = [];
    const done = yield* mirrorOf(actor, args).migrateToDevice(
      addressOf(args, 1, 2),
      Number(args[3]),
      (_page, bytes) => values.push(firstWord(bytes)),
    );
    return deviceAnswer(done, { v: values });
  },
  *exclusive(actor, args) {
    const values: string[] = [];
    const done = yield* mirrorOf(actor, args).exclusive(
      addressOf(args, 1, 2),
      Number(args[3]),
      (_page, bytes) => values.push(firstWord(bytes)),
    );
    return deviceAnswer(done, { v: values });
  },
  *check_exclusive(actor, args) {
    const done = yield* mirrorOf(actor, args).checkExclusive(
      addressOf(args, 1, 2),
      Number(args[3]),
    );
    return deviceAnswer(done, {});
  },
  *to_sys(actor, args) {
    const done = yield* mirrorOf(actor, args).migrateToRam(addressOf(args, 1, 2), Number(args[3]));
    return deviceAnswer(done, {});
  },
};

/** What each kind of mapping is made of. */
const KINDS: Readonly<Record<string, Partial<MmapOptions>>> = {
  ap: {},
  thp: {},
  as: { isShared: true },
  fp: {},
  fs: { isShared: true },
  ht: { isHugetlb: true },
};

function* mapKind(actor: Actor, args: Args): Sleeps<Answer | undefined> {
  const kind = String(args[3]);
  const options = KINDS[kind];
  if (options === undefined) return undefined;
  const start = addressOf(args, 0);
  const bytes = bytesOf(args[1]);
  const file = kind === "fp" || kind === "fs" ? freshFile(actor, args) : undefined;
  const result = yield* mmap(actor.space, {
    start,
    bytes,
    flags: RIGHTS[String(args[2])]!,
    mode: MapMode.noReplace,
    ...options,
    ...(file === undefined ? {} : { file }),
  });
  file?.put();
  if (kind === "thp" && result >= 0) {
    return answer(yield* madvise(actor.space, start, bytes, Advice.hugePage));
  }
  return answer(result);
}

/** A file in memory in which every page says whose it is. */
function freshFile(actor: Actor, args: Args): CachedFile {
  const [slot, pages] = [Number(args[0]), Number(args[1])];
  const file = new CachedFile(actor.space.memory, {
    name: `slot ${slot}`,
    bytes: pages * PAGE_SIZE,
  });
  const word = new Uint8Array(8);
  for (let page = 0; page < pages; page++) {
    const value = 0xf0000000n + BigInt(slot) * 0x10000n + BigInt(page);
    new DataView(word.buffer).setBigUint64(0, value, true);
    file.write(page * PAGE_SIZE, word);
  }
  return file;
}

/**
 * `P` anonymous and mapped once, `p` by several, `F` and `f` the same of files; `S` there but not
 * present, `-` nothing. The zero page is nobody's: it counts as mapped by several; the huge one
 * is no anonymous page either.
 */
function pagemapLetter(actor: Actor, pte: Pte): string {
  if (pte === 0) return "-";
  if (!isPresent(pte)) return "S";
  const { pages } = actor.space.memory;
  const frame = ptePfn(pte);
  const isZero = frame === ZERO_PFN && (pte & PTE_HUGE) === 0;
  const isFile = !isZero && !pages.is(frame, PG_ANON);
  const isAlone = pages.mapcount[frame] === 1;
  if (isFile) return isAlone ? "F" : "f";
  return isAlone ? "P" : "p";
}

const mirrorOf = (actor: Actor, args: Args): Dmirror => actor.mirrors[Number(args[0])]!;

function addressOf(args: Args, slot: number, page?: number): VirtAddr {
  const offset = page === undefined ? 0 : Number(args[page]) * PAGE_SIZE;
  return virtAddr(SLOT_BASE + Number(args[slot]) * SLOT_BYTES + offset);
}

const bytesOf = (pages: string | number | undefined): number => Number(pages) * PAGE_SIZE;

const answer = (result: Result): Answer => ({ r: result < 0 ? errnoName(result) : "OK" });

/** A CPU access that failed is a signal. */
function signal(result: Result): Answer {
  if (result >= 0) return { r: "OK" };
  if (result === -EFAULT) return { r: "SEGV" };
  return { r: result === -EIO ? "BUS" : errnoName(result) };
}

function deviceAnswer(done: DmirrorResult, more: Answer): Answer {
  if (done.result < 0) return answer(done.result);
  return { r: "OK", cp: done.pages, f: done.faults, ...more };
}

const hex = (low: number, high: number): string =>
  ((BigInt(high >>> 0) << 32n) | BigInt(low >>> 0)).toString(16);

function firstWord(bytes: Uint8Array): string {
  return new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true).toString(16);
}
