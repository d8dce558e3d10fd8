/** A graph: the distance of every vertex from one, a launch a level; edges lie vertex by vertex. */
import type { Row } from "./ratio.ts";
import { benchResident, dice } from "./resident.ts";

const VERTICES = 2 ** 16;
const EDGES_MAX = 15;
const MEAN = EDGES_MAX / 2;
const FAR = 0xffff_ffff;
/** The parameter of the launch that forgets all distances. */
const FORGET = FAR;

export async function benchBfs(): Promise<Row[]> {
  const { first, targets } = randomGraph();
  const expected = distances(first, targets);
  const depth = expected.reduce((most, each) => (each === FAR ? most : Math.max(most, each)), 0);
  return benchResident({
    name: `bfs: ${VERTICES.toLocaleString("en")} vertices, ${MEAN} edges each, a launch a level`,
    arrays: { first, targets, far: new Uint32Array(VERTICES) },
    ours: `fn main(i: u32) {
      if (args.param == ${FORGET}u) {
        store_u32(args.far + 4u * i, select(${FAR}u, 0u, i == 0u));
        return;
      }
      if (load_u32(args.far + 4u * i) != args.param) { return; }
      let end = load_u32(args.first + 4u * i + 4u);
      for (var edge = load_u32(args.first + 4u * i); edge < end; edge++) {
        let at = args.far + 4u * load_u32(args.targets + 4u * edge);
        if (load_u32(at) == ${FAR}u) { store_u32(at, args.param + 1u); }
      }
    }`,
    byHand: `fn main(i: u32) {
      let level = given.y;
      if (level == ${FORGET}u) {
        buffer2[i] = select(${FAR}u, 0u, i == 0u);
        return;
      }
      if (buffer2[i] != level) { return; }
      let end = buffer0[i + 1u];
      for (var edge = buffer0[i]; edge < end; edge++) {
        let at = buffer1[edge];
        if (buffer2[at] == ${FAR}u) { buffer2[at] = level + 1u; }
      }
    }`,
    launches: [FORGET, ...Array.from({ length: depth }, (_, level) => level)].map(
      (param) => [VERTICES, param] as const,
    ),
    result: "far",
    plain: () => distances(first, targets),
  });
}

/** A vertex has up to so many edges, to vertices of chance. */
function randomGraph(): { readonly first: Uint32Array; readonly targets: Uint32Array } {
  const roll = dice(88_172_645);
  const first = new Uint32Array(VERTICES + 1);
  for (let i = 0; i < VERTICES; i++) first[i + 1] = first[i]! + roll(EDGES_MAX + 1);
  const targets = Uint32Array.from({ length: first[VERTICES]! }, () => roll(VERTICES));
  return { first, targets };
}

function distances(first: Uint32Array, targets: Uint32Array): Uint32Array {
  const far = new Uint32Array(VERTICES).fill(FAR);
  const queue = new Uint32Array(VERTICES);
  far[0] = 0;
  for (let head = 0, tail = 1; head < tail; head++) {
    const from = queue[head]!;
    for (let edge = first[from]!; edge < first[from + 1]!; edge++) {
      const to = targets[edge]!;
      if (far[to] !== FAR) continue;
      far[to] = far[from]! + 1;
      queue[tail++] = to;
    }
  }
  return far;
}
