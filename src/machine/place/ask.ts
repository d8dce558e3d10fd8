/** Asks the engine, in the name of the call that the program made. */
import type { Answer, Ask, CallName, CallOptions, EnginePort } from "../engine/index.ts";
import { hmmError, named } from "../error.ts";

/** Who asks: the port, and what the program called. */
export interface Asker {
  readonly port: EnginePort;
  readonly call: string;
}

export async function ask<Name extends CallName>(
  { port, call }: Asker,
  name: Name,
  what: Ask<Name>,
  options?: CallOptions,
): Promise<Answer<Name>> {
  port.check(call);
  try {
    return await port.call(name, what, options);
  } catch (error) {
    throw named(error, call);
  }
}

/** The answer at once; undefined where it would have to wait for what this thread does. */
export function askNow<Name extends CallName>(
  { port, call }: Asker,
  name: Name,
  what: Ask<Name>,
): Answer<Name> | undefined {
  port.check(call);
  try {
    return port.callNow(name, what);
  } catch (error) {
    throw named(error, call);
  }
}

/** For calls that end in `Sync`: blocks this thread, but not the engine's own. */
export function askSync<Name extends CallName>(
  asker: Asker,
  name: Name,
  what: Ask<Name>,
): Answer<Name> {
  const answer = askNow(asker, name, what);
  if (answer !== undefined) return answer;
  const { call } = asker;
  const other = call.replace("Sync", "");
  const detail = `it has to wait, and this thread would wait for itself; await ${other}(…)`;
  throw hmmError({ code: "EAGAIN", call, detail });
}
