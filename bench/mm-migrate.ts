/**
 * Moving pages to the memory of a device and back, a page moved being the unit. Twice: by the
 * test device, which keeps a table of its own and reads what it moved through that, and by a
 * driver that does nothing but copy. Beside C that does nothing but memcpy the same pages, and C
 * that keeps a migration's books as well.
 */
import { addrOf, PAGE_SIZE, type Pfn, type Result, vpn } from "../src/base/index.ts";
import {
  DevicePagemap,
  isMigrating,
  MIGRATE_PFN_WRITE,
  MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
  MIGRATE_VMA_SELECT_SYSTEM,
  type Migration,
  type MigrationDriver,
  migrateFrame,
  migratePfn,
  newMigration,
  runMigration,
} from "../src/devmem/index.ts";
import { Dmirror, DmirrorDevice } from "../src/driver/dmirror/index.ts";
import { HMM_PFN_REQ_FAULT, HMM_PFN_REQ_WRITE } from "../src/hmm/index.ts";
import { type AddressSpace, isDevicePrivate, ptePfn } from "../src/mm/index.ts";
import { runLength } from "../src/phys/index.ts";
import type { Sleeps } from "../src/sync/index.ts";
import { faultIn } from "./mm-pages.ts";
import { compare, type Peer, type Sample } from "./mm-peer.ts";
import { BenchWorld, expect, FIRST, nowNs } from "./mm-world.ts";
import type { Row } from "./ratio.ts";

/** One batch of 2 MiB, which caches hold, and one that they do not. */
const SIZES = [512, 16_384];

export async function benchMigrate(hasPeers: boolean): Promise<Row[]> {
  const rows: Row[] = [];
  for (const pages of SIZES) {
    rows.push(...(await benchTestDevice(hasPeers, pages)));
    rows.push(...(await benchPlainDriver(hasPeers, pages)));
  }
  return rows;
}

async function benchTestDevice(hasPeers: boolean, pages: number): Promise<Row[]> {
  const world = filled(pages);
  const device = new DmirrorDevice(world.space.memory, { name: "bench", frames: pages });
  const mirror = Dmirror.open(device, world.space) as Dmirror;
  const start = addrOf(FIRST);
  const toDevice = (): void => {
    const { result, pages: read } = world.run(mirror.migrateToDevice(start, pages, () => {}));
    expect(result, 0, "the result of moving to the device");
    expect(read, pages, "the number of pages that the device read");
  };
  const toRam = (): void => {
    const { pages: moved } = world.run(mirror.migrateToRam(start, pages));
    expect(moved, pages, "the number of pages that came home");
  };
  return benchMoves(hasPeers, world, { name: "by the test device", toDevice, toRam });
}

async function benchPlainDriver(hasPeers: boolean, pages: number): Promise<Row[]> {
  const world = filled(pages);
  const driver = new PlainDriver(world.space, pages);
  const toDevice = (): void => expect(world.run(driver.toDevice()), pages, "pages moved");
  const toRam = (): void => expect(world.run(driver.toRam()), pages, "pages that came home");
  return benchMoves(hasPeers, world, { name: "by a driver that only copies", toDevice, toRam });
}

interface Moves {
  readonly name: string;
  readonly toDevice: () => void;
  readonly toRam: () => void;
}

function benchMoves(hasPeers: boolean, world: BenchWorld, moves: Moves): Promise<Row[]> {
  const { pages } = world;
  verify(world, moves);
  const measure = (): Sample => {
    const begin = nowNs();
    moves.toDevice();
    moves.toRam();
    return { ns: nowNs() - begin, units: 2 * pages };
  };
  const name = `mm: to the device and back, ${pages.toLocaleString("en")} pages, ${moves.name}`;
  const peers: Peer[] = [
    { versus: "memcpy of the pages in C", by: ["move", pages, "copy"] },
    { versus: "memcpy and the bookkeeping in C", by: ["move", pages, "full"] },
  ];
  return compare(hasPeers, { name, unit: "page moved", measure }, peers);
}

/** Pages that were written: the number of the page is in its first word. */
function filled(pages: number): BenchWorld {
  const world = new BenchWorld(pages);
  world.run(faultIn(world, world.range(HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE)));
  const { bytes } = world.space.memory;
  for (let page = 0; page < pages; page++) {
    bytes.storeWord(ptePfn(world.space.pageTable.get(vpn(FIRST + page))), 0, page + 1);
  }
  return world;
}

/** Every page goes to the device and comes back with what was in it. */
function verify(world: BenchWorld, moves: Moves): void {
  const { pageTable, memory } = world.space;
  moves.toDevice();
  for (let page = 0; page < world.pages; page++) {
    expect(isDevicePrivate(pageTable.get(vpn(FIRST + page))), true, `page ${page} on the device`);
  }
  memory.bytes.u8.fill(0xff);
  moves.toRam();
  for (let page = 0; page < world.pages; page++) {
    const frame = ptePfn(pageTable.get(vpn(FIRST + page)));
    expect(memory.bytes.loadWord(frame, 0), page + 1, `what page ${page} holds`);
  }
}

/** The least that a driver can do: frames, and copies into bytes of its own. */
class PlainDriver {
  readonly #space: AddressSpace;
  readonly #pages: number;
  readonly #pagemap: DevicePagemap;
  readonly #bytes: Uint8Array;

  constructor(space: AddressSpace, pages: number) {
    this.#space = space;
    this.#pages = pages;
    this.#bytes = new Uint8Array(pages * PAGE_SIZE);
    this.#pagemap = new DevicePagemap(space.memory, {
      name: "plain",
      owner: this,
      frames: pages,
      migrateToRam: () => this.toRam(),
    });
  }

  toDevice(): Sleeps<Result> {
    return this.#move(MIGRATE_VMA_SELECT_SYSTEM, (migration) => this.#copyToDevice(migration));
  }

  toRam(): Sleeps<Result> {
    return this.#move(MIGRATE_VMA_SELECT_DEVICE_PRIVATE, (migration) => this.#copyToRam(migration));
  }

  *#move(select: number, copy: MigrationDriver["copy"]): Sleeps<Result> {
    const space = this.#space;
    using _mmap = yield* space.mmapLock.acquireRead();
    const vma = space.vmas.find(addrOf(FIRST))!;
    const end = vpn(FIRST + this.#pages);
    const migration = newMigration({ space, vma, start: FIRST, end, select, owner: this });
    return yield* runMigration(migration, { copy, commit });
  }

  *#copyToDevice({ src, dst }: Migration): Sleeps<Result> {
    const from = framesOf(src);
    const to = this.#pagemap.allocManyLocked(from.length);
    expect(to.length, src.length, "frames of the device");
    const { bytes } = this.#space.memory;
    eachRun(from, to, (at, count) =>
      bytes.read(from[at]!, this.#bytes, this.#offsetOf(to[at]!), count),
    );
    arrive(src, dst, to);
    return 0;
  }

  *#copyToRam({ src, dst }: Migration): Sleeps<Result> {
    const from = framesOf(src);
    const { bytes, pages, ram } = this.#space.memory;
    const to = pages.allocManyLocked(ram, from.length);
    expect(to.length, src.length, "frames of RAM");
    eachRun(from, to, (at, count) =>
      bytes.write(to[at]!, this.#bytes, this.#offsetOf(from[at]!), count),
    );
    arrive(src, dst, to);
    return 0;
  }

  #offsetOf(frame: Pfn): number {
    return this.#pagemap.indexOf(frame) * PAGE_SIZE;
  }
}

/** The device keeps no table. Generators that are made anew for each migration cost more than it. */
function* commit(): Sleeps<void> {}

/** Of pages that all move. */
function framesOf(src: Uint32Array): Pfn[] {
  const frames: Pfn[] = [];
  for (let slot = 0; slot < src.length; slot++) {
    const frame = migrateFrame(src[slot]!);
    if (!isMigrating(src[slot]!) || frame === 0) throw new Error("mm bench: a page stays");
    frames.push(frame);
  }
  return frames;
}

function arrive(src: Uint32Array, dst: Uint32Array, frames: readonly Pfn[]): void {
  for (let slot = 0; slot < src.length; slot++) {
    dst[slot] = migratePfn(frames[slot]!) | (src[slot]! & MIGRATE_PFN_WRITE);
  }
}

function eachRun(
  from: readonly Pfn[],
  to: readonly Pfn[],
  copy: (at: number, count: number) => void,
): void {
  for (let at = 0; at < to.length; ) {
    const count = runLength(from, to, at);
    copy(at, count);
    at += count;
  }
}
