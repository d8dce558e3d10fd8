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
} from "../../base/index.ts";
import { SoftCpu } from "../../cpu/index.ts";
import { Dmirror, type DmirrorDevice, type DmirrorResult } from "../../driver/index.ts";
import {
  AddressSpace,
  isPresent,
  MapMode,
  type Memory,
  mmap,
  mmput,
  mprotect,
  munmap,
  type Pte,
  ptePfn,
  VM_READ,
  VM_WRITE,
} from "../../mm/index.ts";
import type { Sleeps } from "../../sync/index.ts";

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

  constructor(memory: Memory, devices: readonly DmirrorDevice[]) {
    this.space = new AddressSpace(memory);
    this.cpu = new SoftCpu(this.space);
    this.mirrors = devices.map((device) => {
      const mirror = Dmirror.open(device, this.space);
      if (typeof mirror === "number") throw new Error(`cannot open a device: ${mirror}`);
      return mirror;
    });
  }

  /** Runs one operation; undefined when this version does not know it. */
  *run(op: string, args: Args): Sleeps<Answer | undefined> {
    const operation = OPERATIONS[op];
    return operation === undefined ? undefined : yield* operation(this, args);
  }

  *exit(): Sleeps<void> {
    for (const mirror of this.mirrors) yield* mirror.close();
    yield* mmput(this.space);
    this.cpu.dispose();
  }
}

type Operation = (actor: Actor, args: Args) => Sleeps<Answer | undefined>;

const OPERATIONS: Readonly<Record<string, Operation>> = {
  *mmap(actor, args) {
    const kind = args[3];
    if (kind !== "ap") return undefined;
    const result = yield* mmap(actor.space, {
      start: addressOf(args, 0),
      bytes: Number(args[1]) * PAGE_SIZE,
      flags: RIGHTS[String(args[2])]!,
      mode: MapMode.noReplace,
    });
    return answer(result);
  },
  *munmap(actor, args) {
    return answer(yield* munmap(actor.space, addressOf(args, 0, 1), bytesOf(args[2])));
  },
  *mprotect(actor, args) {
    const rights = RIGHTS[String(args[3])]!;
    return answer(yield* mprotect(actor.space, addressOf(args, 0, 1), bytesOf(args[2]), rights));
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
  *to_sys(actor, args) {
    const done = yield* mirrorOf(actor, args).migrateToRam(addressOf(args, 1, 2), Number(args[3]));
    return deviceAnswer(done, {});
  },
};

/** `P` mapped once, `p` by several, `S` there but not present, `-` nothing. */
function pagemapLetter(actor: Actor, pte: Pte): string {
  if (pte === 0) return "-";
  if (!isPresent(pte)) return "S";
  return actor.space.memory.pages.mapcount[ptePfn(pte)] === 1 ? "P" : "p";
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
