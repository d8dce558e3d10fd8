/**
 * How few pages anybody could move for a trace of accesses, whoever knows all of it beforehand:
 * when there is no room, the page goes that is needed again last (Belady, 1966). A page must be
 * there when it is accessed, and what is not there costs one move.
 */

/** Least moves for `trace`, one page an access, with room for `capacity` pages. */
export function leastMoves(trace: Uint32Array, capacity: number): number {
  if (!(capacity >= 1)) throw new Error(`room for ${capacity} pages is not enough for any`);
  const next = nextUses(trace);
  const there = new Set<number>();
  // The next uses of what is there, latest on top. Those of the past stay below: whatever is
  // there is used later than any of them.
  const uses = new LatestFirst();
  let moves = 0;
  for (const [at, page] of trace.entries()) {
    if (!there.has(page)) {
      moves++;
      if (there.size === capacity) there.delete(pageOf(uses.pop(), trace));
      there.add(page);
    }
    uses.push(next[at]!, page);
  }
  return moves;
}

/** For each access: where the same page is next, or past the end. */
function nextUses(trace: Uint32Array): Uint32Array {
  const next = new Uint32Array(trace.length);
  const seen = new Map<number, number>();
  for (let at = trace.length - 1; at >= 0; at--) {
    const page = trace[at]!;
    next[at] = seen.get(page) ?? trace.length;
    seen.set(page, at);
  }
  return next;
}

interface Use {
  readonly at: number;
  readonly page: number;
}

const pageOf = ({ at, page }: Use, trace: Uint32Array): number => {
  if (at < trace.length && trace[at] !== page) throw new Error("a use of another page");
  return page;
};

/** A heap. */
class LatestFirst {
  readonly #uses: Use[] = [];

  push(at: number, page: number): void {
    const uses = this.#uses;
    let slot = uses.push({ at, page }) - 1;
    while (slot > 0) {
      const above = (slot - 1) >> 1;
      if (uses[above]!.at >= at) break;
      uses[slot] = uses[above]!;
      slot = above;
    }
    uses[slot] = { at, page };
  }

  pop(): Use {
    const uses = this.#uses;
    const latest = uses[0]!;
    const last = uses.pop()!;
    if (uses.length === 0) return latest;
    let slot = 0;
    for (;;) {
      let below = 2 * slot + 1;
      if (below >= uses.length) break;
      if (below + 1 < uses.length && uses[below + 1]!.at > uses[below]!.at) below++;
      if (uses[below]!.at <= last.at) break;
      uses[slot] = uses[below]!;
      slot = below;
    }
    uses[slot] = last;
    return latest;
  }
}
