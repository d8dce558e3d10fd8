/**
 * A kernel over arrays that are all on the device, beside the same one written by hand over raw
 * buffers, and beside plain JavaScript on one thread. All three must say the same.
 */
import { type Kernel, Machine, type Ptr, type PtrSchema, ptr, u32 } from "../src/machine/index.ts";
import { alternate, median, type Row } from "./ratio.ts";
import { type RawKernel, rawKernel } from "./raw-kernel.ts";

type Words = Uint32Array | Float32Array;

export interface Work {
  readonly name: string;
  /** In the order of `buffer0`, `buffer1` …; ours finds their addresses in `args` by name. */
  readonly arrays: Readonly<Record<string, Words>>;
  /** `fn main(i: u32)` of each; a launch's parameter is `args.param`, or `given.y`. */
  readonly ours: string;
  readonly byHand: string;
  /** One run: so many invocations, and the parameter of each launch. */
  readonly launches: readonly (readonly [count: number, param: number])[];
  /** The array that holds what came out. */
  readonly result: string;
  /** The same by JavaScript: gives that array. */
  readonly plain: () => Words;
}

type Args = Record<string, PtrSchema | typeof u32>;
type Launch = (count: number, param: number) => Promise<unknown>;

const BY_HAND = "the same kernel by hand over raw buffers";
const PLAIN = "plain JavaScript on one thread";
const PLAIN_ROUNDS = 3;

export async function benchResident(work: Work): Promise<Row[]> {
  await using machine = await Machine.create({ cpu: "scoped", deviceMemory: 128 * 2 ** 20 });
  const ours = await oursOf(machine, work);
  const peer = await rawKernel(Object.values(work.arrays), work.byHand);
  const all = (launch: Launch) => async (): Promise<void> => {
    for (const [count, param] of work.launches) await launch(count, param);
  };
  const byHand = await alternate(all(ours.launch), all(peer.run));
  const plain = await alternate(all(ours.launch), async () => work.plain(), PLAIN_ROUNDS);
  await compareResults(work, await ours.read(), peer);
  const rowOf = (versus: string, { ratios, oursMs, peerMs }: typeof plain): Row => {
    const note = `${oursMs.toFixed(1)} ms against ${peerMs.toFixed(1)} ms, results equal`;
    return { name: `${work.name}, resident`, versus, ratios, note };
  };
  return [rowOf(BY_HAND, byHand), rowOf(PLAIN, plain)];
}

const COLD_ROUNDS = 3;

/** From arrays that a program has filled to what came out: everything that a first run needs. */
export async function benchCold(work: Work): Promise<Row> {
  const ours: number[] = [];
  const peers: number[] = [];
  for (let round = 0; round < COLD_ROUNDS; round++) {
    await using machine = await Machine.create({ cpu: "scoped", deviceMemory: 128 * 2 ** 20 });
    const filled = await oursOf(machine, work);
    const begin = performance.now();
    for (const [count, param] of work.launches) await filled.launch(count, param);
    const words = await filled.read();
    ours.push(performance.now() - begin);
    const { peer, ms } = await coldByHand(work);
    peers.push(ms);
    await compareResults(work, words, peer);
  }
  return {
    name: `${work.name}, cold`,
    versus: "by hand: upload, compile, run, read",
    ratios: ours.map((ms, round) => ms / peers[round]!),
    note: `${median(ours).toFixed(1)} ms against ${median(peers).toFixed(1)} ms, results equal`,
  };
}

async function coldByHand(work: Work): Promise<{ readonly peer: RawKernel; readonly ms: number }> {
  let ms = 0;
  const peer = await rawKernel(Object.values(work.arrays), work.byHand, (spent) => {
    ms = spent;
  });
  const begin = performance.now();
  for (const [count, param] of work.launches) await peer.run(count, param);
  await peer.read(Object.keys(work.arrays).indexOf(work.result));
  return { peer, ms: ms + performance.now() - begin };
}

async function oursOf(machine: Machine, { name, arrays, ours, result }: Work) {
  const { space } = machine;
  const views = Object.entries(arrays).map(([key, words]) => {
    return { key, words, view: space.array(u32, words.length) };
  });
  for (const { words, view } of views) {
    await using memory = await space.access(view, "write");
    memory.u32.set(bitsOf(words));
  }
  const args: Args = { param: u32 };
  for (const { key } of views) args[key] = ptr(u32);
  const kernel: Kernel<Args> = machine.kernel({ name: name.split(":")[0]!, args, code: ours });
  const addresses = views.map(({ key, view }) => [key, view.address as Ptr<unknown>] as const);
  const given = Object.fromEntries(addresses);
  return {
    launch: (count: number, param: number) => kernel.run(count, { ...given, param }),
    async read(): Promise<Uint32Array> {
      await using memory = await space.access(
        views.find(({ key }) => key === result)!.view,
        "read",
      );
      return memory.u32.slice();
    },
  };
}

async function compareResults(work: Work, ours: Uint32Array, peer: RawKernel): Promise<void> {
  const plain = bitsOf(work.plain());
  const byHand = await peer.read(Object.keys(work.arrays).indexOf(work.result));
  if (ours.length !== plain.length) throw new Error(`${work.name}: ${ours.length} words`);
  for (let i = 0; i < plain.length; i++) {
    if (ours[i] === plain[i] && byHand[i] === plain[i]) continue;
    const three = `${ours[i]} of ours, ${byHand[i]} by hand, ${plain[i]} in JavaScript`;
    throw new Error(`${work.name}: word ${i} is ${three}`);
  }
}

const bitsOf = (words: Words): Uint32Array =>
  words instanceof Uint32Array
    ? words
    : new Uint32Array(words.buffer, words.byteOffset, words.length);

/** Numbers of chance, always the same: 0 to `limit` - 1. */
export function dice(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % limit;
  };
}
