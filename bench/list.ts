/** Pointers: 65,536 walks of 64 hops over a resident list, against the same over raw arrays. */
import { Machine, ptr, u32 } from "../src/machine/index.ts";
import { alternate, type Row } from "./ratio.ts";
import { rawKernel } from "./raw-kernel.ts";

const NODES = 2 ** 20;
const WALKS = 2 ** 16;
const HOPS = 64;

export async function benchList(): Promise<Row[]> {
  await using machine = await Machine.create({ cpu: "scoped", deviceMemory: 64 * 2 ** 20 });
  const { space } = machine;
  const place = shuffled(NODES);
  const nodes = await space.mmap({ bytes: NODES * 8 });
  const out = space.array(u32, WALKS);
  // A ring through all nodes; a node is (next, value), and next is an index for the peer.
  const raw = new Uint32Array(NODES * 2);
  for (let i = 0; i < NODES; i++) {
    raw[place[i]! * 2] = place[(i + 1) % NODES]!;
    raw[place[i]! * 2 + 1] = i;
  }
  {
    await using memory = await space.access({ start: nodes, bytes: NODES * 8 }, "write");
    for (let i = 0; i < NODES; i++) {
      memory.u32[2 * i] = nodes + raw[2 * i]! * 8;
      memory.u32[2 * i + 1] = raw[2 * i + 1]!;
    }
  }
  const ours = machine.kernel({
    name: "chase",
    args: { nodes: ptr(u32), out: ptr(u32) },
    code: `fn main(i: u32) {
      var at = args.nodes + 8u * (i * 16u);
      var sum = 0u;
      for (var hop = 0u; hop < ${HOPS}u; hop++) { sum += load_u32(at + 4u); at = load_u32(at); }
      store_u32(args.out + 4u * i, sum);
    }`,
  });
  const peer = await rawKernel(
    [raw, new Uint32Array(WALKS)],
    `fn main(i: u32) {
      var at = i * 16u;
      var sum = 0u;
      for (var hop = 0u; hop < ${HOPS}u; hop++) { sum += buffer0[2u * at + 1u]; at = buffer0[2u * at]; }
      buffer1[i] = sum;
    }`,
  );
  const { ratios, oursMs, peerMs } = await alternate(
    () => ours.run(WALKS, { nodes, out }),
    () => peer.run(WALKS),
  );
  const expected = await peer.read(1);
  await using result = await space.access(out, "read");
  for (let i = 0; i < WALKS; i++) {
    if (result.u32[i] !== expected[i]) throw new Error(`chase: walk ${i} differs`);
  }
  return [
    {
      name: "list: 65,536 walks of 64 hops, resident",
      versus: "the same kernel over raw arrays",
      ratios,
      note: `${oursMs.toFixed(1)} ms against ${peerMs.toFixed(1)} ms, results equal`,
    },
  ];
}

function shuffled(count: number): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, i) => i);
  let state = 88_172_645;
  for (let i = count - 1; i > 0; i--) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    const j = (state >>> 0) % (i + 1);
    const kept = order[i]!;
    order[i] = order[j]!;
    order[j] = kept;
  }
  return order;
}
