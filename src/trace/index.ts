/**
 * # trace: what happened
 *
 * **Nouns.** *Event*: a row of `EVENTS` (name and up to three numbers). *Tracer*: the ring of
 * the last events and a counter for each kind.
 *
 * **Invariants.** Emitting changes nothing but the ring and its counters, allocates nothing and
 * cannot fail. No code reads a trace to decide what to do: events report, they never steer.
 *
 * **Locks.** None.
 *
 * **Example.**
 * ```ts
 * const FAULT = eventId("mm:fault");          // once, at module load
 * tracer.emit(FAULT, space.id, page, flags);
 * expect(tracer.count("hmm:retry")).toBeGreaterThan(0);   // a test proves it reached the race
 * ```
 *
 * **What it refuses.** Clocks: an event has an order, no time. Formats for programs.
 */
export { EVENTS, type EventName, eventId } from "./event.ts";
export { textOfEvents } from "./text.ts";
export { type TracedEvent, Tracer } from "./tracer.ts";
