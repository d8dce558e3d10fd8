/**
 * Sparse work: 1,000 keys looked up in a search tree of 256 MiB. Bytes moved, against the bytes
 * of uploading the tree; counted in the copy layer, so there is nothing to repeat.
 */
import { Machine, ptr, u32 } from "../src/machine/index.ts";
import type { Row } from "./ratio.ts";

const NODE_BYTES = 32;
const NODES = (256 * 2 ** 20) / NODE_BYTES;
const KEYS = 1000;

export async function benchTree(): Promise<Row[]> {
  await using machine = await Machine.create({ cpu: "scoped", deviceMemory: 256 * 2 ** 20 });
  const { space } = machine;
  const base = await space.mmap({ bytes: NODES * NODE_BYTES });
  const root = await buildTree(machine, base);
  const keys = space.array(u32, KEYS);
  const out = space.array(u32, KEYS);
  for (let i = 0; i < KEYS; i++) keys.set(i, keyOf((i * 7_919_993) % NODES));
  const lookup = machine.kernel({
    name: "lookup",
    args: { root: ptr(u32), keys: ptr(u32), out: ptr(u32) },
    code: `fn main(i: u32) {
      let key = load_u32(args.keys + 4u * i);
      var at = args.root;
      while (at != 0u) {
        let here = load_u32(at);
        if (here == key) { break; }
        at = load_u32(at + select(12u, 8u, key < here));
      }
      if (at != 0u) { store_u32(args.out + 4u * i, load_u32(at + 4u)); }
    }`,
  });
  const report = await lookup.run(KEYS, { root, keys, out });
  await using result = await space.access(out, "read");
  for (let i = 0; i < KEYS; i++) {
    if (result.u32[i] !== (i * 7_919_993) % NODES) throw new Error(`lookup: key ${i} differs`);
  }
  const tree = NODES * NODE_BYTES;
  return [
    {
      name: `tree: ${KEYS.toLocaleString("en")} keys in a search tree of 256 MiB, bytes moved to the device`,
      versus: "uploading the tree",
      ratios: [report.bytesToDevice / tree],
      note: `${report.bytesToDevice} of ${tree} bytes in ${report.rounds} rounds, all keys found`,
    },
  ];
}

/** Key of the node with rank `rank`: increasing, not dense. */
const keyOf = (rank: number): number => rank * 5 + 3;

/** A balanced tree; nodes (key, value = rank, left, right) lie in the order of their ranks. */
async function buildTree(machine: Machine, base: number): Promise<number> {
  const bytes = NODES * NODE_BYTES;
  await using memory = await machine.space.access({ start: base, bytes }, "write");
  const words = memory.u32;
  const addressOf = (rank: number): number => base + rank * NODE_BYTES;
  // Ranges [low, high) whose root has to be written; the root of one is its middle.
  const ranges: [number, number][] = [[0, NODES]];
  while (ranges.length > 0) {
    const [low, high] = ranges.pop()!;
    const middle = (low + high) >>> 1;
    const at = (middle * NODE_BYTES) / 4;
    words[at] = keyOf(middle);
    words[at + 1] = middle;
    words[at + 2] = low < middle ? addressOf((low + middle) >>> 1) : 0;
    words[at + 3] = middle + 1 < high ? addressOf((middle + 1 + high) >>> 1) : 0;
    if (low < middle) ranges.push([low, middle]);
    if (middle + 1 < high) ranges.push([middle + 1, high]);
  }
  return addressOf(NODES >>> 1);
}
