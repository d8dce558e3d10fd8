/**
 * Sparse work: 1,000 keys looked up in a search tree of 256 MiB. Bytes moved, against the bytes
 * of uploading the tree; pages moved, against those that the lookups touch, which an oracle would
 * move and nothing else. Counted in the copy layer, so there is nothing to repeat.
 */
import { Machine, ptr, u32 } from "../src/machine/index.ts";
import type { Row } from "./ratio.ts";
import { keyOf, NODE_BYTES, plantTree, rootOf, walkTree } from "./search-tree.ts";

const PAGE = 4096;
const NODES = (256 * 2 ** 20) / NODE_BYTES;
const KEYS = 1000;
const WHAT = `${KEYS.toLocaleString("en")} keys in a search tree of 256 MiB`;

export async function benchTree(): Promise<Row[]> {
  await using machine = await Machine.create({ cpu: "scoped", deviceMemory: 256 * 2 ** 20 });
  const { space } = machine;
  const tree = NODES * NODE_BYTES;
  const base = await space.mmap({ bytes: tree });
  const keys = space.array(u32, KEYS);
  const out = space.array(u32, KEYS);
  for (let i = 0; i < KEYS; i++) keys.set(i, keyOf(rankOf(i)));
  const touched = new Set<number>();
  const touch = (address: number): unknown => touched.add(address >>> 12);
  {
    await using memory = await space.access({ start: base, bytes: tree }, "write");
    plantTree(memory.u32, base, NODES);
    for (let i = 0; i < KEYS; i++) {
      const at = walkTree(memory.u32, base, keyOf(rankOf(i)), touch);
      for (const address of [at + 4, keys.address + 4 * i, out.address + 4 * i]) touch(address);
    }
  }
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
  const report = await lookup.run(KEYS, { root: base + rootOf(NODES), keys, out });
  await using result = await space.access(out, "read");
  for (let i = 0; i < KEYS; i++) {
    if (result.u32[i] !== rankOf(i)) throw new Error(`lookup: key ${i} differs`);
  }
  const { bytesToDevice, pagesToDevice, rounds } = report;
  return [
    {
      name: `tree: ${WHAT}, bytes moved to the device`,
      versus: "uploading the tree",
      ratios: [bytesToDevice / tree],
      floor: (touched.size * PAGE) / tree,
      note: `${bytesToDevice} of ${tree} bytes in ${rounds} rounds, all keys found`,
    },
    {
      name: `tree: ${WHAT}, pages moved to the device`,
      versus: "the pages that the lookups touch",
      ratios: [pagesToDevice / touched.size],
      note: `${pagesToDevice} pages against ${touched.size}`,
    },
  ];
}

const rankOf = (i: number): number => (i * 7_919_993) % NODES;
