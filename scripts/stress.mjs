/**
 * Four workers and a device on one address space, at random, for as long as you like:
 * `npm run stress -- --seconds 60 --seed 1`. Every value is checked against what its owner has
 * stored; see stress-actor.mjs. The last line is a JSON object; status 1 when anything was wrong.
 */

import { parseArgs } from "node:util";
import { Worker } from "node:worker_threads";
import { Machine, ptr, u32, whyNotHost } from "../dist/machine/index.js";

const WORDS = 1024;
const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "60" },
    seed: { type: "string", default: "1" },
    memory: { type: "string", default: "64" },
    device: { type: "string", default: "16" },
  },
});
const seconds = Number(values.seconds);
const seed = Number(values.seed);
const pages = Number(values.memory) * 256;
const KINDS = ["array", "array", "wasm", "atomics"];
/** Owners of words: the workers and the device, which has the last number. */
const OWNERS = KINDS.length + 1;
const DEVICE = KINDS.length;

const obstacle = whyNotHost();
if (obstacle !== undefined) {
  console.log(JSON.stringify({ skipped: obstacle.reason }));
  process.exit(0);
}

const machine = await Machine.create({
  cpu: "host",
  deviceMemory: Number(values.device) * 2 ** 20,
});
const { space } = machine;
const area = await space.mmap({ bytes: pages * 4096 });
const newShared = (bytes) => new SharedArrayBuffer(bytes);
const shared = {
  begun: newShared(pages * 4096),
  done: newShared(pages * 4096),
  stop: newShared(4),
};
const stop = new Int32Array(shared.stop);
const begun = new Uint32Array(shared.begun);
const done = new Uint32Array(shared.done);

/** An invocation gets a word of its own to count up and a word of anybody's to look at. */
const BATCH = 512;
const kernel = machine.kernel({
  name: "actor",
  args: { area: ptr(u32), plan: ptr(u32), seen: ptr(u32) },
  code: `fn main(i: u32) {
    let own = args.area + 4u * load_u32(args.plan + 8u * i);
    let other = args.area + 4u * load_u32(args.plan + 8u * i + 4u);
    let before = load_u32(own);
    store_u32(args.seen + 8u * i, before);
    store_u32(args.seen + 8u * i + 4u, load_u32(other));
    store_u32(own, before + 1u);
  }`,
});

let state = (seed * 2654435761) | 1;
function random(limit) {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) % limit;
}

const plan = space.array(u32, 2 * BATCH);
const seen = space.array(u32, 2 * BATCH);
const planWords = new Uint32Array(space.window, plan.address, 2 * BATCH);
const seenWords = new Uint32Array(space.window, seen.address, 2 * BATCH);

function somePages() {
  const first = random(pages);
  const bytes = 4096 * (1 + random(Math.min(1024, pages - first)));
  return { start: area + 4096 * first, bytes };
}

/** A hint at random: it may change nothing but where pages are. */
async function prefetchSomething() {
  const to = random(3) === 0 ? "cpu" : "device";
  const mode = random(2) === 0 ? "read" : "write";
  return await space.prefetch(somePages(), to, mode);
}

/** The same; what was said of other pages stays. */
async function adviseSomething() {
  const oneOf = (...words) => words[random(words.length)];
  await space.advise(somePages(), {
    preferred: oneOf("device", "cpu", "none", undefined),
    readMostly: oneOf(true, false, undefined),
    accessedBy: oneOf("device", "none", undefined),
  });
}

/** The device's part: distinct words of its own, so that each grows by one. */
async function deviceTurn() {
  const own = new Set();
  const count = 1 + random(BATCH);
  // Now all over memory, now within a few pages.
  const [first, span] = random(2) === 0 ? [0, pages] : [random(pages - 8), 8];
  const slots = Math.floor((WORDS - 1 - DEVICE) / OWNERS) + 1;
  while (own.size < count) {
    own.add((first + random(span)) * WORDS + DEVICE + OWNERS * random(slots));
  }
  const words = [...own];
  const least = words.map((word, i) => {
    const other = (first + random(span)) * WORDS + random(WORDS);
    planWords[2 * i] = word;
    planWords[2 * i + 1] = other;
    Atomics.store(begun, word, done[word] + 1);
    return [other, Atomics.load(done, other)];
  });
  if (random(8) === 0) await kernel.prepare({ area, plan, seen });
  const { pagesAdvised, copiesKept } = await kernel.run(count, { area, plan, seen });
  advised += pagesAdvised;
  kept += copiesKept;
  for (const [i, word] of words.entries()) {
    if (seenWords[2 * i] !== done[word]) {
      const found = seenWords[2 * i];
      throw new Error(`lost update: the device found ${found} in word ${word}, not ${done[word]}`);
    }
    Atomics.store(done, word, done[word] + 1);
  }
  for (const [i, [other, atLeast]] of least.entries()) {
    const value = seenWords[2 * i + 1];
    const most = Atomics.load(begun, other);
    if (value >= atLeast && value <= most) continue;
    const rule = `between ${atLeast} and ${most}`;
    throw new Error(`stale read: the device saw ${value} in word ${other}, not ${rule}`);
  }
  return count;
}

const reports = [];
const failures = [];
const workers = KINDS.map((kind, number) => {
  const worker = new Worker(new URL("./stress-actor.mjs", import.meta.url), {
    workerData: {
      handle: machine.handle,
      area,
      pages,
      owners: OWNERS,
      number,
      kind,
      shared,
      seed: seed * 101 + number * 7919,
    },
  });
  worker.on("message", (report) => reports.push(report));
  worker.on("error", (error) => {
    failures.push(error.message);
    Atomics.store(stop, 0, 1);
  });
  return new Promise((resolve) => worker.once("exit", resolve));
});

let launches = 0;
let stores = 0;
let prefetched = 0;
let advised = 0;
let kept = 0;
const until = performance.now() + 1000 * seconds;
try {
  while (performance.now() < until && failures.length === 0) {
    if (random(4) === 0) prefetched += await prefetchSomething();
    if (random(4) === 0) await adviseSomething();
    stores += await deviceTurn();
    launches++;
  }
} catch (error) {
  failures.push(error.stack);
}
Atomics.store(stop, 0, 1);
await Promise.all(workers);
// At rest every word is what was stored last.
const memory = new Uint32Array(space.window, area, pages * WORDS);
let wrong = 0;
for (let word = 0; word < memory.length; word++) if (memory[word] !== done[word]) wrong++;
if (wrong > 0) failures.push(`${wrong} words are not what was stored in them last`);
machine.check();
const { bytesToDevice, bytesHome, cpuFaults } = machine.report;
await machine.close();
if (failures.length > 0) console.log(`To see it again: npm run replay -- stress ${seed}`);
const writes = reports.reduce((sum, each) => sum + each.writes, 0);
const reads = reports.reduce((sum, each) => sum + each.reads, 0);
console.log(
  JSON.stringify({
    seconds,
    seed,
    workers: reports.length,
    writes,
    reads,
    launches,
    deviceStores: stores,
    mebibytesPrefetched: Math.round(prefetched / 2 ** 20),
    pagesAdvised: advised,
    copiesKept: kept,
    cpuFaults,
    mebibytesToDevice: Math.round(bytesToDevice / 2 ** 20),
    mebibytesHome: Math.round(bytesHome / 2 ** 20),
    failures,
  }),
);
process.exit(failures.length === 0 ? 0 : 1);
