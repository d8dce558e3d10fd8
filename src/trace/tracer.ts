/**
 * The event ring and the counters. A ring holds the last events as five int32 words each;
 * counters count all of them for ever. Writing allocates nothing and never fails: the oldest
 * event is overwritten.
 */
import { assert } from "../base/index.ts";
import { EVENTS, type EventName, eventId } from "./event.ts";

const WORDS = 5;

export interface TracedEvent {
  readonly index: number;
  readonly name: EventName;
  readonly task: number;
  readonly a: number;
  readonly b: number;
  readonly c: number;
}

export class Tracer {
  // [event id, task id, a, b, c] each
  readonly #ring: Int32Array;
  readonly #mask: number;
  readonly #counts = new Float64Array(EVENTS.length);
  #written = 0;
  /** Who is running now; the scheduler keeps it. */
  task = 0;

  constructor(options: { readonly events?: number } = {}) {
    const events = options.events ?? 4096;
    assert(events > 0 && (events & (events - 1)) === 0, "ring size must be a power of two");
    this.#ring = new Int32Array(events * WORDS);
    this.#mask = events - 1;
  }

  emit(id: number, a: number, b: number, c: number): void {
    const at = (this.#written & this.#mask) * WORDS;
    const ring = this.#ring;
    ring[at] = id;
    ring[at + 1] = this.task;
    ring[at + 2] = a;
    ring[at + 3] = b;
    ring[at + 4] = c;
    this.#written++;
    this.#counts[id] = this.#counts[id]! + 1;
  }

  /** How often `name` happened since the tracer was made. */
  count(name: EventName): number {
    return this.#counts[eventId(name)]!;
  }

  /** The last `most` events, oldest first. */
  last(most: number): TracedEvent[] {
    const kept = Math.min(this.#written, this.#mask + 1, most);
    const events: TracedEvent[] = [];
    for (let index = this.#written - kept; index < this.#written; index++) {
      const at = (index & this.#mask) * WORDS;
      const [id, task, a, b, c] = this.#ring.subarray(at, at + WORDS) as unknown as number[];
      events.push({ index, name: EVENTS[id!]!.name, task: task!, a: a!, b: b!, c: c! });
    }
    return events;
  }
}
