/** A balanced search tree in memory; nodes of 32 bytes lie in the order of their ranks. */

export const NODE_BYTES = 32;

/** Key of the node with rank `rank`: increasing, not dense. */
export const keyOf = (rank: number): number => rank * 5 + 3;

/** Where the root is, in bytes from the first node. */
export const rootOf = (nodes: number): number => (nodes >>> 1) * NODE_BYTES;

/** Writes (key, value = rank, left, right) of all nodes; `start` is the address of word 0. */
export function plantTree(words: Uint32Array, start: number, nodes: number): void {
  const addressOf = (rank: number): number => start + rank * NODE_BYTES;
  // Ranges [low, high) whose root has to be written; the root of one is its middle.
  const ranges: [number, number][] = [[0, nodes]];
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
}

/**
 * The address of the node with `key`, or 0, and `visit` of the address of every word that is
 * looked at on the way.
 */
export function walkTree(
  words: Uint32Array,
  start: number,
  key: number,
  visit: (address: number) => void,
): number {
  const load = (address: number): number => {
    visit(address);
    return words[(address - start) / 4]!;
  };
  let at = start + rootOf((words.length * 4) / NODE_BYTES);
  while (at !== 0) {
    const here = load(at);
    if (here === key) return at;
    at = load(at + (key < here ? 8 : 12));
  }
  return 0;
}
