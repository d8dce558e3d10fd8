/**
 * The peer that everybody writes first: subscriptions in an array, each looked at by every
 * invalidation. It keeps the same books as ours (what is open, what collides, two counters a
 * range) and nothing else: no tasks, no lock order, no trace. Its ranges are page numbers, which
 * V8 keeps within the objects; addresses above 2^31 would cost it a pointer each.
 */

export interface ListedRange {
  readonly start: number;
  readonly end: number;
  seq: number;
  active: number;
}

export interface ListedEvent {
  readonly start: number;
  readonly end: number;
  readonly colliding: ListedRange[];
}

export class LinearList {
  readonly ranges: ListedRange[] = [];
  readonly #open: ListedEvent[] = [];

  get openCount(): number {
    return this.#open.length;
  }

  start(event: ListedEvent): void {
    this.#open.push(event);
    const { ranges } = this;
    const { start, end, colliding } = event;
    for (let i = 0; i < ranges.length; i++) {
      const each = ranges[i]!;
      if (each.start < end && start < each.end) {
        each.seq++;
        each.active++;
        colliding.push(each);
      }
    }
  }

  end(event: ListedEvent): void {
    const last = this.#open.pop()!;
    if (last !== event) this.#open[this.#open.indexOf(event)] = last;
    const { colliding } = event;
    for (let i = 0; i < colliding.length; i++) colliding[i]!.active--;
  }
}
