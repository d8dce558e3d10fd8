/**
 * More data than device memory: pages moved to the device, against the fewest that anybody could
 * move who knew all accesses beforehand (`belady.ts`), one invocation after the other. Counted,
 * not timed. Ours may run invocations in any order, but does not know what comes.
 */
import { Machine, ptr, u32 } from "../src/machine/index.ts";
import { leastMoves } from "./belady.ts";
import { mix } from "./mm-world.ts";
import type { Row } from "./ratio.ts";
import { keyOf, NODE_BYTES, plantTree, rootOf, walkTree } from "./search-tree.ts";

const MIB = 2 ** 20;
const PAGE = 4096;
const DATA_BYTES = 16 * MIB;
const PAGES = DATA_BYTES / PAGE;

/** What a kernel works on; whoever loads from it leaves a trace. */
class Data {
  readonly words: Uint32Array;
  readonly start: number;
  readonly trace: number[] = [];

  constructor(start: number) {
    this.words = new Uint32Array(DATA_BYTES / 4);
    this.start = start;
  }

  load(address: number): number {
    this.touch(address);
    return this.words[(address - this.start) / 4]!;
  }

  touch(address: number): void {
    this.trace.push(address >>> 12);
  }
}

interface Pattern {
  readonly name: string;
  readonly count: number;
  /** So many launches, the same each time. */
  readonly launches: number;
  readonly fill: (words: Uint32Array, start: number) => void;
  /** WGSL of `answer(i: u32) -> u32`. */
  readonly code: string;
  /** What `answer` gives, by loads from the same addresses. */
  readonly answer: (i: number, data: Data) => number;
}

/** As `mix` of mm-world. */
const MIX = `fn mix(i: u32) -> u32 {
  var mixed = i * 2654435761u;
  mixed ^= mixed >> 15u;
  mixed *= 2246822519u;
  return mixed ^ (mixed >> 13u);
}`;

const numbers = (words: Uint32Array): void => {
  for (let i = 0; i < words.length; i++) words[i] = mix(i);
};

const sweep = (name: string, launches: number): Pattern => ({
  name,
  count: PAGES,
  launches,
  fill: numbers,
  code: `fn answer(i: u32) -> u32 {
    let at = args.data + ${PAGE}u * i;
    return load_u32(at) ^ load_u32(at + ${PAGE / 2}u);
  }`,
  answer(i, data) {
    const at = data.start + PAGE * i;
    return data.load(at) ^ data.load(at + PAGE / 2);
  },
});

const RANDOM: Pattern = {
  name: "random",
  count: 4 * PAGES,
  launches: 1,
  fill: numbers,
  code: `fn answer(i: u32) -> u32 {
    return load_u32(args.data + (mix(i) & ${DATA_BYTES - 4}u));
  }`,
  answer: (i, data) => data.load(data.start + (mix(i) & (DATA_BYTES - 4))),
};

const NODES = DATA_BYTES / NODE_BYTES;
const TREE: Pattern = {
  name: "tree",
  count: PAGES / 2,
  launches: 1,
  fill: (words, start) => plantTree(words, start, NODES),
  code: `fn answer(i: u32) -> u32 {
    let key = 5u * (mix(i) % ${NODES}u) + 3u;
    var at = args.data + ${rootOf(NODES)}u;
    while (at != 0u) {
      let here = load_u32(at);
      if (here == key) { return load_u32(at + 4u); }
      at = load_u32(at + select(12u, 8u, key < here));
    }
    return 0u;
  }`,
  answer(i, data) {
    const key = keyOf(mix(i) % NODES);
    const at = walkTree(data.words, data.start, key, (address) => data.touch(address));
    return data.load(at + 4);
  },
};

const PATTERNS: readonly Pattern[] = [
  sweep("sequential", 1),
  RANDOM,
  TREE,
  sweep("four sweeps", 4),
];

export async function benchOversubscribed(): Promise<Row[]> {
  const rows: Row[] = [];
  for (const pattern of PATTERNS) {
    for (const part of [2, 4]) rows.push(await measure(pattern, part));
  }
  return rows;
}

/** Device memory is `part` times smaller than the data. */
async function measure(pattern: Pattern, part: number): Promise<Row> {
  const deviceMemory = DATA_BYTES / part;
  await using machine = await Machine.create({ cpu: "scoped", deviceMemory });
  const { space } = machine;
  const start = await space.mmap({ bytes: DATA_BYTES });
  const out = space.array(u32, pattern.count);
  const data = new Data(start);
  pattern.fill(data.words, start);
  {
    await using memory = await space.access({ start, bytes: DATA_BYTES }, "write");
    memory.u32.set(data.words);
  }
  const kernel = machine.kernel({
    name: "oversubscribed",
    args: { data: ptr(u32), out: ptr(u32) },
    code: `${MIX}
      ${pattern.code}
      fn main(i: u32) { store_u32(args.out + 4u * i, answer(i)); }`,
  });
  let moved = 0;
  let rounds = 0;
  for (let launch = 0; launch < pattern.launches; launch++) {
    const report = await kernel.run(pattern.count, { data: start, out });
    moved += report.pagesToDevice;
    rounds += report.rounds;
  }
  const answers = answersOf(pattern, data, out.address);
  await using result = await space.access(out, "read");
  for (let i = 0; i < pattern.count; i++) {
    if (result.u32[i] !== answers[i]) throw new Error(`${pattern.name}: answer ${i} differs`);
  }
  const least = leastMoves(Uint32Array.from(data.trace), deviceMemory / PAGE);
  return {
    name: `oversubscribed ${part}:1, ${pattern.name}, pages moved to the device`,
    versus: "Belady's optimum of the same accesses",
    ratios: [moved / least],
    note: `${moved} pages against ${least}, in ${rounds} rounds, all answers right`,
  };
}

/** What the kernel must say. The data have the trace afterwards, one invocation after the other. */
function answersOf(pattern: Pattern, data: Data, out: number): Uint32Array {
  const answers = new Uint32Array(pattern.count);
  for (let launch = 0; launch < pattern.launches; launch++) {
    for (let i = 0; i < pattern.count; i++) {
      answers[i] = pattern.answer(i, data);
      data.touch(out + 4 * i);
    }
  }
  return answers;
}
