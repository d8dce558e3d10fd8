/** How far each vertex of a graph is from the first: one launch a level, over linked edges. */
import { type Machine, ptr, struct, u32 } from "onespace";

const Vertex = struct("Vertex", { level: u32, edges: ptr(() => Edge) });
const Edge = struct("Edge", { to: ptr(Vertex), next: ptr(() => Edge) });

export const UNSEEN = 0xffff_ffff;

/** Vertices that nobody has seen look for a neighbour of the level before. */
export const expand = (machine: Machine) =>
  machine.kernel(
    { vertices: ptr(Vertex), level: u32, changed: ptr(u32) },
    (i, { vertices, level, changed }, { UNSEEN }) => {
      const vertex = vertices[i];
      if (vertex.level !== UNSEEN) return;
      for (let edge = vertex.edges; edge; edge = edge.next) {
        const { to } = edge;
        if (to && to.level === level - 1) {
          vertex.level = level;
          changed[0] = 1;
          return;
        }
      }
    },
    { name: "expand", uses: { UNSEEN } },
  );

/** `pairs` are edges in both directions; the levels of all vertices. */
export async function levels(
  machine: Machine,
  count: number,
  pairs: readonly (readonly [number, number])[],
): Promise<number[]> {
  const { space } = machine;
  const vertices = space.array(Vertex, count);
  for (let k = 0; k < count; k++) {
    vertices.at(k).assign({ level: k === 0 ? 0 : UNSEEN, edges: 0 });
  }
  for (const [a, b] of [...pairs, ...pairs.map(([a, b]) => [b, a] as const)]) {
    const from = vertices.at(a);
    from.edges = space.alloc(Edge, { to: vertices.addressOf(b), next: from.edges }).address;
  }
  const changed = space.array(u32, 1);
  const kernel = expand(machine);
  for (let level = 1, isMore = true; isMore; level++) {
    await space.populate(changed, "write");
    changed.set(0, 0);
    await kernel.run(count, { vertices, level, changed });
    await space.populate(changed, "read");
    isMore = changed.at(0) === 1;
  }
  await space.populate(vertices, "read");
  return Array.from({ length: count }, (_, k) => vertices.at(k).level);
}
