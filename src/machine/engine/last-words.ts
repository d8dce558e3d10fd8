/** What an engine says when it fails: what happened last, and where its memory is. */
import { AssertionError } from "../../base/index.ts";
import { type AddressSpace, dumpSpace } from "../../mm/index.ts";
import { type Tracer, textOfEvents } from "../../trace/index.ts";

const EVENTS = 30;
const told = new WeakSet<Error>();

/** An assertion that fails gets the last events behind its stack, once. Gives `error`. */
export function withEvents(error: unknown, tracer: Tracer): unknown {
  if (!(error instanceof AssertionError) || told.has(error)) return error;
  told.add(error);
  error.stack = `${error.stack}\n${textOfEvents(tracer, EVENTS)}`;
  return error;
}

/** For an engine that goes on no more. What is broken may not even be told: that is said. */
export function lastWords(error: unknown, tracer: Tracer, space: AddressSpace): string {
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  const hasEvents = error instanceof Error && told.has(error);
  const events = hasEvents ? [] : [textOfEvents(tracer, EVENTS)];
  return [text, ...events, dumpOf(space)].join("\n");
}

function dumpOf(space: AddressSpace): string {
  try {
    return dumpSpace(space);
  } catch (error) {
    return `where memory is cannot be told: ${String(error)}`;
  }
}
