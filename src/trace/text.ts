/** The last events, for people: a line each, with the names of the fields. */
import { EVENTS } from "./event.ts";
import type { TracedEvent, Tracer } from "./tracer.ts";

const FIELDS: ReadonlyMap<string, readonly string[]> = new Map(
  EVENTS.map(({ name, fields }) => [name, fields]),
);

/**
 * The last `most` events of `tracer`, oldest first: number, task, name, fields. A page is written
 * in hexadecimal. The ring has no times: the order is all there is.
 */
export function textOfEvents(tracer: Tracer, most: number): string {
  const events = tracer.last(most);
  if (events.length === 0) return "no events";
  return [`the last ${events.length} events, the newest at the end:`, ...events.map(lineOf)].join(
    "\n",
  );
}

function lineOf({ index, task, name, a, b, c }: TracedEvent): string {
  const values = [a, b, c];
  const fields = FIELDS.get(name)!.flatMap((field, i) => {
    if (field === "") return [];
    const value = values[i]!;
    return `${field} ${field === "vpn" ? `0x${(value >>> 0).toString(16)}` : value}`;
  });
  return `  ${index}  task ${task}  ${name}  ${fields.join(", ")}`;
}
