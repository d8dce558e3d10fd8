/**
 * `hmmRangeFault` over pages that are there already, beside the same in C over a page table of
 * eight-byte entries: as a generic walk with callbacks, and as nothing but the translation. A
 * word of ours is laid out like an entry, so a leaf of readable pages is one copy; theirs is not.
 */
import { addrOf, vpn } from "../src/base/index.ts";
import { Dmirror, DmirrorDevice } from "../src/driver/dmirror/index.ts";
import {
  HMM_PFN_REQ_FAULT,
  HMM_PFN_REQ_WRITE,
  HMM_PFN_VALID,
  HMM_PFN_WRITE,
  type HmmRange,
  hmmRangeFault,
} from "../src/hmm/index.ts";
import { cpuFault, FAULT_WRITE, LEAF_PAGES, ptePfn } from "../src/mm/index.ts";
import type { Sleeps } from "../src/sync/index.ts";
import { compare, type Peer, type Sample } from "./mm-peer.ts";
import { BenchWorld, expect, FIRST, mix, nowNs } from "./mm-world.ts";
import type { Row } from "./ratio.ts";

const NONE = 0;
const READ = HMM_PFN_VALID;
const WRITE = HMM_PFN_VALID | HMM_PFN_WRITE;
const PRIVATE = WRITE | (1 << 8);

/** What is at a page; bench/native/walk.c must say the same. */
const PATTERNS = {
  dense: () => WRITE,
  rights: (dice: number) => (dice & 1 ? WRITE : READ),
  sparse: (dice: number) => (dice & 7 ? NONE : WRITE),
  mixed: (dice: number) => [NONE, READ, WRITE, WRITE][dice & 3]!,
  private: (dice: number) => (dice % 10 ? WRITE : PRIVATE),
} as const;
type Pattern = keyof typeof PATTERNS;

interface Case {
  readonly pattern: Pattern;
  readonly pages: number;
  readonly text: string;
  readonly requests?: number;
}

const MANY = 65_536;
const CASES: readonly Case[] = [
  { pattern: "dense", pages: LEAF_PAGES, text: "512 pages, all writable" },
  { pattern: "dense", pages: MANY, text: "65,536 pages, all writable" },
  { pattern: "rights", pages: MANY, text: "65,536 pages, half of them read-only at random" },
  { pattern: "sparse", pages: MANY, text: "65,536 pages, 1 of 8 there at random" },
  { pattern: "mixed", pages: MANY, text: "65,536 pages, 1 of 4 missing, 1 of 4 read-only" },
  { pattern: "private", pages: MANY, text: "65,536 pages, 1 of 10 on the device" },
  {
    pattern: "dense",
    pages: MANY,
    text: "65,536 pages, all writable, writing requested of all",
    requests: HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE,
  },
];

export async function benchSnapshot(hasPeers: boolean): Promise<Row[]> {
  const rows: Row[] = [];
  for (const each of CASES) rows.push(...(await benchCase(hasPeers, each)));
  rows.push(...(await benchProtocol(hasPeers)));
  return rows;
}

async function benchCase(hasPeers: boolean, each: Case): Promise<Row[]> {
  const { pattern, pages, text, requests = 0 } = each;
  const world = new BenchWorld(pages);
  const device = new DmirrorDevice(world.space.memory, { name: "private", frames: pages });
  populate(world, device, pattern);
  const range = world.range(requests, device);
  const measure = (): Sample => world.run(snapshots(world, range, 1 + Math.floor(2 ** 18 / pages)));
  measure();
  const ready = verify(world, range, pattern);
  const asks = requests === 0 ? [] : ["write"];
  const generic: Peer = {
    versus: "a generic page walk in C, -O2",
    ready,
    by: ["walk", pattern, pages, "generic", ...asks],
  };
  const least: Peer[] = ["walk", "walk-wide"].map((program) => ({
    versus: `a loop in C that only translates, ${program === "walk" ? "-O2" : "-O3 -march=native"}`,
    ready,
    by: [program, pattern, pages, "translate"],
  }));
  const peers = pattern === "dense" && requests === 0 ? [generic, ...least] : [generic];
  return compare(hasPeers, { name: `mm: snapshot, ${text}`, unit: "page", measure }, peers);
}

function* snapshots(world: BenchWorld, range: HmmRange, repeats: number): Sleeps<Sample> {
  const { space, pages } = world;
  range.notifierSeq = (yield* space.notifiers.readBegin(range.notifier))!;
  using _mmap = yield* space.mmapLock.acquireRead();
  const start = nowNs();
  for (let i = 0; i < repeats; i++) expect(yield* hmmRangeFault(space, range), 0, "a snapshot");
  return { ns: nowNs() - start, units: repeats * pages };
}

/** Faults in what the pattern says: a page that is only read is the zero page. */
function populate(world: BenchWorld, device: DmirrorDevice, pattern: Pattern): void {
  const { space, pages } = world;
  const mirror = Dmirror.open(device, space) as Dmirror;
  for (let page = 0; page < pages; page++) {
    const kind = PATTERNS[pattern](mix(page));
    if (kind === NONE) continue;
    const address = addrOf(vpn(FIRST + page));
    const flags = kind === READ ? 0 : FAULT_WRITE;
    expect(world.run(cpuFault(space, address, flags)), 0, "a fault");
    if (kind !== PRIVATE) continue;
    expect(world.run(mirror.migrateToDevice(address, 1, () => {})).result, 0, "a migration");
  }
}

/** Every word is right; what there is, in the words of the peer. */
function verify(world: BenchWorld, range: HmmRange, pattern: Pattern): string {
  let valid = 0;
  let writable = 0;
  for (let page = 0; page < world.pages; page++) {
    const word = range.pfns[page]!;
    const kind = PATTERNS[pattern](mix(page)) & 0xff;
    const frame = ptePfn(world.space.pageTable.get(vpn(FIRST + page)));
    expect(word, kind === NONE ? 0 : ((frame << 8) | kind) >>> 0, `the word of page ${page}`);
    if (word & HMM_PFN_VALID) valid++;
    if (word & HMM_PFN_WRITE) writable++;
  }
  return `${valid} valid, ${writable} writable`;
}

/** What the protocol around a snapshot of one leaf costs: sequence, lock, check. */
async function benchProtocol(hasPeers: boolean): Promise<Row[]> {
  const world = new BenchWorld(LEAF_PAGES);
  const range = world.range(HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE);
  world.run(snapshots(world, range, 1));
  range.defaultFlags = 0;
  const leaf = world.space.pageTable.leafOf(FIRST)!;
  const measure = (): Sample => world.run(lookups(world, range));
  const bare = (): Sample => {
    const start = nowNs();
    for (let i = 0; i < LOOKUPS; i++) range.pfns.set(leaf, 0);
    return { ns: nowNs() - start, units: LOOKUPS };
  };
  measure();
  verify(world, range, "dense");
  const name = "mm: begin to read, take mmapLock, snapshot 512 pages, check";
  const peers = [{ versus: "copying the 512 words", by: bare }];
  return compare(hasPeers, { name, unit: "range", measure }, peers);
}

const LOOKUPS = 4096;

function* lookups(world: BenchWorld, range: HmmRange): Sleeps<Sample> {
  const { space } = world;
  const start = nowNs();
  for (let i = 0; i < LOOKUPS; i++) {
    range.notifierSeq = (yield* space.notifiers.readBegin(range.notifier))!;
    using _mmap = yield* space.mmapLock.acquireRead();
    expect(yield* hmmRangeFault(space, range), 0, "a snapshot");
    expect(range.notifier.readRetry(range.notifierSeq), false, "a collision");
  }
  return { ns: nowNs() - start, units: LOOKUPS };
}
