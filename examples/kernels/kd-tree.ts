/** The nearest of many points: a k-d tree of linked nodes, and a stack for what is left to see. */
import { type Machine, ptr, struct, u32, vec3f } from "onespace";

const Node = struct("Node", {
  at: vec3f,
  axis: u32,
  left: ptr(() => Node),
  right: ptr(() => Node),
  slot: u32,
});

export const nearest = (machine: Machine) =>
  machine.kernel(
    { nodes: ptr(Node), queries: ptr(vec3f), found: ptr(u32) },
    (i, { nodes, queries, found }) => {
      const query = queries[i];
      const waiting = new Uint32Array(32);
      const bounds = new Float32Array(32);
      let top = 0;
      let best = Infinity;
      let slot = 0;
      let at = nodes;
      while (at || top > 0) {
        if (!at) {
          top--;
          if (bounds[top] >= best) continue;
          at = nodes[waiting[top]];
        }
        const way = query.sub(at.at);
        const square = way.dot(way);
        if (square < best) {
          best = square;
          slot = at.slot;
        }
        const side = at.axis === 0 ? way.x : at.axis === 1 ? way.y : way.z;
        const other = side < 0 ? at.right : at.left;
        at = side < 0 ? at.left : at.right;
        if (other) {
          waiting[top] = other.slot;
          bounds[top] = side * side;
          top++;
        }
      }
      found[i] = slot;
    },
    { name: "nearest" },
  );

/** The tree of `points`: node k is that of `order[k]`, the root is the first. */
export function treeOf({ space }: Machine, points: readonly (readonly [number, number, number])[]) {
  const nodes = space.array(Node, points.length);
  const order: number[] = [];
  const node = nodes.at(0);
  const build = (members: readonly number[], depth: number): number => {
    if (members.length === 0) return 0;
    const axis = depth % 3;
    const sorted = [...members].sort((a, b) => points[a]![axis]! - points[b]![axis]!);
    const middle = sorted.length >> 1;
    const slot = order.push(sorted[middle]!) - 1;
    const left = build(sorted.slice(0, middle), depth + 1);
    const right = build(sorted.slice(middle + 1), depth + 1);
    node.address = nodes.addressOf(slot);
    node.assign({ at: points[order[slot]!]!, axis, left, right, slot });
    return nodes.addressOf(slot);
  };
  build(Array.from(points.keys()), 0);
  return { nodes, order };
}
