/** How deep generated text goes: compilers of WGSL stop at 127 of anything in itself. */

export const NESTING_MAX = 120;

/** The most brackets around a place of it, or `else if` in a row. */
export function nestingOf(text: string): number {
  let most = 0;
  let depth = 0;
  // Of the chain at each depth.
  const chains: number[] = [];
  for (const [token] of text.matchAll(/\} else if|[([{}\])]/g)) {
    if (token === "} else if") {
      depth--;
      chains[depth] = (chains[depth] ?? 0) + 1;
      most = Math.max(most, chains[depth]!);
    } else if ("([{".includes(token)) {
      depth++;
      chains[depth] = 0;
      most = Math.max(most, depth);
    } else depth--;
  }
  return most;
}
