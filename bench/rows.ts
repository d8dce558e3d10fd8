/**
 * Every row that the benches print, with what it is meant to reach. A bench gives figures under a
 * name and a peer that stand here; README's table is made of them, and a test compares the two
 * without running anything.
 */
export interface Declared {
  /** What was measured. */
  readonly name: string;
  /** What it is set beside: figures are ours divided by that. */
  readonly versus: string;
  /** What the median is meant to be at most. Without: shown for what it is. */
  readonly goal?: number;
}

const row = (name: string, versus: string, goal?: number): Declared =>
  goal === undefined ? { name, versus } : { name, versus, goal };

const RAW_KERNEL = "the same kernel by hand over raw buffers";
const PLAIN = "plain JavaScript on one thread";
const OPTIMUM = "Belady's optimum of the same accesses";
const RAW_SUBMIT = "a raw submission and its end";
const MEMCPY = "memcpy of the pages in C";
const BOOKS = "memcpy and the bookkeeping in C";
const WALK = "a generic page walk in C, -O2";
const TRANSLATE = "a loop in C that only translates, -O2";
const TRANSLATE_WIDE = "a loop in C that only translates, -O3 -march=native";
const C_TREE = "a balanced tree in C";
const C_LIST = "a list in C";
const HANDLER = "a handler in C (poll, 60 looks before)";
const TS_LIST = "a linear list in TypeScript";
const SAME_IN_C = "the same call in C";
const BY_HAND = "copying the buffer back by hand (mapAsync)";

export const ROWS: Readonly<Record<string, readonly Declared[]>> = {
  advice: ["pages moved to the device", "time"].map((what) =>
    row(
      `advice: 16 MiB that a kernel changes and the CPU reads, in turns, ${what}`,
      "the same without readMostly",
    ),
  ),
  bfs: [
    row("bfs: 65,536 vertices, 7.5 edges each, a launch a level, resident", RAW_KERNEL, 1.3),
    row("bfs: 65,536 vertices, 7.5 edges each, a launch a level, resident", PLAIN),
  ],
  blur: [
    row("blur: 512 by 512 pixels, 25 loads each, resident", RAW_KERNEL, 1.3),
    row("blur: 512 by 512 pixels, 25 loads each, resident", PLAIN),
    row("blur: 512 by 512 pixels, 25 loads each, cold", "by hand: upload, compile, run, read"),
  ],
  dense: [row("dense: saxpy, 2M elements, resident", "the same kernel with raw buffers", 1.1)],
  dragon: [
    row(
      "dragon: 512 pixels, from a built tree to the picture",
      "one raw buffer: upload, compile, run, read",
      1.3,
    ),
    row("dragon: 512 pixels, all on the device", "the same run over one raw buffer", 1.15),
  ],
  explore: ["in threads", "on this thread"].map((where) =>
    row(
      `explore: touch, fork, exit, munmap of 4,096 pages after exploring ${where}`,
      "the same where nobody explored",
      1.1,
    ),
  ),
  hash: [
    row("hash: 262,144 probes of 1,048,576 slots, resident", RAW_KERNEL, 1.3),
    row("hash: 262,144 probes of 1,048,576 slots, resident", PLAIN),
  ],
  host: [
    row("host: a fault, one page", HANDLER, 1.15),
    row("host: a fault that brings 16 pages", HANDLER),
    row("host: populate, 512 pages a call", HANDLER, 1.15),
    row("host: revoke, 1 page a call", SAME_IN_C),
    row("host: write-protect, 1 page a call", SAME_IN_C),
    row("host: revoke, 512 pages a call", SAME_IN_C),
    row("host: write-protect, 512 pages a call", SAME_IN_C),
    row(
      "host: read, add and store 4M resident words",
      "the same loop over a memory that nobody manages",
    ),
    row("host: 4 MiB of results, touched where they lie", BY_HAND, 1.2),
    row("host: 4 MiB of results, populated first", BY_HAND, 1.2),
  ],
  launch: [
    row("launch: 64 invocations, nothing missing, engine on this thread", RAW_SUBMIT, 1.5),
    row("launch: 64 invocations, nothing missing, engine on its own thread", RAW_SUBMIT, 1.5),
    row("launch: the same raw submission, and 16 KiB of it mapped", RAW_SUBMIT),
  ],
  list: [row("list: 65,536 walks of 64 hops, resident", "the same kernel over raw arrays", 1.2)],
  mm: [
    row("mm: snapshot, 512 pages, all writable", WALK),
    row("mm: snapshot, 512 pages, all writable", TRANSLATE),
    row("mm: snapshot, 512 pages, all writable", TRANSLATE_WIDE),
    row("mm: snapshot, 65,536 pages, all writable", WALK),
    row("mm: snapshot, 65,536 pages, all writable", TRANSLATE),
    row("mm: snapshot, 65,536 pages, all writable", TRANSLATE_WIDE),
    row("mm: snapshot, 65,536 pages, half of them read-only at random", WALK),
    row("mm: snapshot, 65,536 pages, 1 of 8 there at random", WALK),
    row("mm: snapshot, 65,536 pages, 1 of 4 missing, 1 of 4 read-only", WALK),
    row("mm: snapshot, 65,536 pages, 1 of 10 on the device", WALK, 1),
    row("mm: snapshot, 65,536 pages, all writable, writing requested of all", WALK),
    row("mm: begin to read, take mmapLock, snapshot 512 pages, check", "copying the 512 words"),
    row("mm: first touch by hmmRangeFault, writing, 16,384 pages", "the kernel's first touch"),
    row("mm: munmap of 16,384 pages that were written", "the kernel's munmap"),
    row(
      "mm: fork of 16,384 pages that were written",
      "the kernel's fork with them, less its fork without",
      1.5,
    ),
    row("mm: invalidate, 1 of 1 overlapping", C_TREE, 4),
    row("mm: invalidate, 1 of 1 overlapping", C_LIST),
    row("mm: invalidate, 1 of 100 overlapping", C_TREE, 3),
    row("mm: invalidate, 1 of 100 overlapping", C_LIST),
    row("mm: invalidate, 1 of 10,000 overlapping", C_TREE),
    row("mm: invalidate, 1 of 10,000 overlapping", C_LIST),
    row("mm: invalidate, 1 of 100,000 overlapping", C_TREE),
    row("mm: invalidate, 1 of 100,000 overlapping", C_LIST),
    row("mm: invalidate, 16 of 100,000 overlapping", C_TREE),
    row("mm: unsubscribe and subscribe, 100,000 there", C_TREE),
    row("mm: to the device and back, 512 pages, by the test device", MEMCPY, 1.5),
    row("mm: to the device and back, 512 pages, by the test device", BOOKS),
    row("mm: to the device and back, 512 pages, by a driver that only copies", MEMCPY, 1.5),
    row("mm: to the device and back, 512 pages, by a driver that only copies", BOOKS),
    row("mm: to the device and back, 16,384 pages, by the test device", MEMCPY, 1.3),
    row("mm: to the device and back, 16,384 pages, by the test device", BOOKS),
    row("mm: to the device and back, 16,384 pages, by a driver that only copies", MEMCPY, 1.3),
    row("mm: to the device and back, 16,384 pages, by a driver that only copies", BOOKS),
  ],
  notifier: [
    row("notifier: one invalidation, 1 subscribed", TS_LIST),
    row("notifier: one invalidation, 100 subscribed", TS_LIST),
    row("notifier: one invalidation, 1,000,000 subscribed", TS_LIST),
    row(
      "notifier: attempts of a reader in a storm of invalidations, the worst of 400",
      "the bound that is proved",
      1,
    ),
  ],
  oversubscribed: ["sequential", "random", "tree", "four sweeps"].flatMap((pattern) => [
    row(`oversubscribed 2:1, ${pattern}, pages moved to the device`, OPTIMUM, 1.3),
    row(`oversubscribed 4:1, ${pattern}, pages moved to the device`, OPTIMUM),
  ]),
  spmv: [
    row("spmv: 65,536 rows of 1 to 31 values, resident", RAW_KERNEL, 1.3),
    row("spmv: 65,536 rows of 1 to 31 values, resident", PLAIN),
  ],
  tree: [
    row(
      "tree: 1,000 keys in a search tree of 256 MiB, bytes moved to the device",
      "uploading the tree",
      0.06,
    ),
    row(
      "tree: 1,000 keys in a search tree of 256 MiB, pages moved to the device",
      "the pages that the lookups touch",
      1.2,
    ),
  ],
};

/** The declaration of a row, or undefined: its bench says something that is not here. */
export function declarationOf(
  bench: string,
  row: { readonly name: string; readonly versus: string },
): Declared | undefined {
  return ROWS[bench]?.find(({ name, versus }) => name === row.name && versus === row.versus);
}
