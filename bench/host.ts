/**
 * Real page faults: what a fault, a revocation, a write protection cost beside a handler in C over
 * the same system calls; loops over resident memory beside the same loop over memory that nobody
 * manages; and results of a kernel read where they lie, beside copying a buffer back by hand.
 */
import { vpn } from "../src/base/index.ts";
import { createWindow, HostMemory } from "../src/cpu/index.ts";
import { Machine, ptr, u32, whyNotHost } from "../src/machine/index.ts";
import { buildPeers, compare, type Sample, type Subject } from "./mm-peer.ts";
import { alternate, median, type Row } from "./ratio.ts";
import { rawKernel } from "./raw-kernel.ts";

const PAGE = 4096;
const PAGES = 4096;
/** Rounds until the compiler has made up its mind about moving pages. */
const WARM_UPS = 12;
const HANDLER = "a handler in C (poll, 60 looks before)";

export async function benchHost(): Promise<Row[]> {
  const obstacle = whyNotHost();
  if (obstacle !== undefined) {
    console.log(`host: no page faults here: ${obstacle.reason} (${obstacle.cure})`);
    return [];
  }
  const hasPeers = buildPeers();
  if (!hasPeers) console.log("host: no C compiler (cc) here: absolute figures only, no ratios");
  return [
    ...(await benchFaults(hasPeers)),
    ...(await benchShadow(hasPeers)),
    ...(await benchLoops()),
    ...(await benchResults()),
  ];
}

const timed = (units: number, body: () => void): Sample => {
  const start = performance.now();
  body();
  return { ns: (performance.now() - start) * 1e6, units };
};

/** Pages that are in RAM, and that the CPU has to fault in again. */
async function benchFaults(hasPeers: boolean): Promise<Row[]> {
  await using machine = await Machine.create({ cpu: "host", device: "none" });
  const { space } = machine;
  const sparse = await space.mmap({ bytes: PAGES * PAGE });
  const dense = await space.mmap({ bytes: PAGES * PAGE });
  const words = space.u32;
  let sum = 0;
  const touch = (start: number, step: number): void => {
    for (let page = 0; page < PAGES; page += step) sum += words[(start + page * PAGE) >>> 2]!;
  };
  const revoke = (start: number): void => {
    space.mprotectSync(start, PAGES * PAGE, "none");
    space.mprotectSync(start, PAGES * PAGE, "rw");
  };
  // Reading maps a page for itself; writing would bring its neighbours.
  touch(sparse, 16);
  words.fill(1, dense >>> 2, (dense + PAGES * PAGE) >>> 2);
  const serve = (start: number): Sample => {
    revoke(start);
    return timed(PAGES / 16, () => touch(start, 16));
  };
  const populate = (): Sample => {
    revoke(dense);
    return timed(PAGES / 512, () => {
      for (let page = 0; page < PAGES; page += 512) {
        space.populateSync({ start: dense + page * PAGE, bytes: 512 * PAGE }, "read");
      }
    });
  };
  const subjects: [string, number, string, () => Sample][] = [
    ["host: a fault, one page", 1, "fault", () => serve(sparse)],
    ["host: a fault that brings 16 pages", 16, "fault", () => serve(dense)],
    ["host: populate, 512 pages a call", 512, "call", populate],
  ];
  const rows: Row[] = [];
  for (const [name, batch, unit, measure] of subjects) {
    const subject: Subject = { name, unit, measure };
    const peer = { versus: HANDLER, by: ["fault", "serve", PAGES, batch] } as const;
    rows.push(...(await compare(hasPeers, subject, [peer])));
  }
  if (sum === 0) throw new Error("nothing was read");
  return rows;
}

/** What revoking and write-protecting cost, without the engine around it. */
async function benchShadow(hasPeers: boolean): Promise<Row[]> {
  const memory = HostMemory.open(createWindow().buffer);
  const first = 1024;
  const rows: Row[] = [];
  try {
    for (const batch of [1, 512]) {
      const each = (act: (start: number) => void): void => {
        for (let page = first; page < first + PAGES; page += batch) act(page);
      };
      const install = (): void =>
        each((page) => memory.install(vpn(page), vpn(page + batch), true));
      const revoke = (): void => each((page) => memory.revoke(vpn(page), vpn(page + batch)));
      const protect = (): void => each((page) => memory.protect(vpn(page), vpn(page + batch)));
      const after = (before: readonly (() => void)[], body: () => void): Sample => {
        for (const prepare of before) prepare();
        return timed(PAGES / batch, body);
      };
      const subjects: [string, string, () => Sample][] = [
        ["revoke", "drop", () => after([install], revoke)],
        ["write-protect", "protect", () => after([revoke, install], protect)],
      ];
      for (const [what, mode, measure] of subjects) {
        const name = `host: ${what}, ${batch} ${batch === 1 ? "page" : "pages"} a call`;
        const peer = { versus: "the same call in C", by: ["fault", mode, PAGES, batch] } as const;
        rows.push(...(await compare(hasPeers, { name, unit: "call", measure }, [peer])));
      }
    }
  } finally {
    memory.close();
  }
  return rows;
}

/** The same loop over the managed window and over memory that nobody manages. */
async function benchLoops(): Promise<Row[]> {
  await using machine = await Machine.create({ cpu: "host", device: "none" });
  const length = 2 ** 22;
  const managed = machine.space.array(u32, length);
  const ours = new Uint32Array(machine.space.window, managed.address, length).fill(3);
  // A window like ours, without anybody behind it.
  const peer = new Uint32Array(createWindow().buffer, managed.address, length).fill(3);
  const { ratios, oursMs, peerMs } = await alternate(
    async () => loop(ours),
    async () => loop(peer),
    15,
  );
  return [
    {
      name: "host: read, add and store 4M resident words",
      versus: "the same loop over a memory that nobody manages",
      ratios,
      note: `${oursMs.toFixed(2)} ms against ${peerMs.toFixed(2)} ms`,
    },
  ];
}

function loop(words: Uint32Array): void {
  for (let pass = 0; pass < 4; pass++) {
    for (let i = 0; i < words.length; i++) words[i] = words[i]! + pass;
  }
}

/** A kernel writes; the CPU adds up what it wrote. */
async function benchResults(): Promise<Row[]> {
  await using machine = await Machine.create({ cpu: "host", deviceMemory: 64 * 2 ** 20 });
  const count = 2 ** 20;
  const out = machine.space.array(u32, count);
  const fill = machine.kernel({
    args: { out: ptr(u32) },
    code: "fn main(i: u32) { store_u32(args.out + 4u * i, i); }",
  });
  const words = new Uint32Array(machine.space.window, out.address, count);
  const raw = await rawKernel([new Uint32Array(count)], "fn main(i: u32) { buffer0[i] = i; }");
  const expected = (count * (count - 1)) / 2;
  const judge = (sum: number): void => {
    if (sum !== expected) throw new Error(`the sum is ${sum}, not ${expected}`);
  };
  const rows: Row[] = [];
  for (const [name, prepare] of [
    ["host: 4 MiB of results, touched where they lie", async () => {}],
    ["host: 4 MiB of results, populated first", () => machine.space.populate(out, "read")],
  ] as const) {
    const ours: number[] = [];
    const peers: number[] = [];
    for (let round = -WARM_UPS; round < 9; round++) {
      await raw.run(count);
      const a = performance.now();
      judge(total(await raw.read(0)));
      const b = performance.now();
      await fill.run(count, { out });
      const c = performance.now();
      await prepare();
      judge(total(words));
      const end = performance.now();
      if (round < 0) continue;
      ours.push(end - c);
      peers.push(b - a);
    }
    rows.push({
      name,
      versus: "copying the buffer back by hand (mapAsync)",
      ratios: ours.map((ms, round) => ms / peers[round]!),
      note: `${median(ours).toFixed(2)} ms against ${median(peers).toFixed(2)} ms, with the sum`,
    });
  }
  return rows;
}

function total(words: Uint32Array): number {
  let sum = 0;
  for (let i = 0; i < words.length; i++) sum += words[i]!;
  return sum;
}
