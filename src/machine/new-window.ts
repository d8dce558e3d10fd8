/** The window of a machine, or an error that says what was wanted. */
import { createWindow, type Window } from "../cpu/index.ts";
import { hmmError } from "./error.ts";

/** Throws ENOMEM when the process may not reserve 4 GiB of addresses (`ulimit -v`, a container). */
export function newWindow(): Window {
  try {
    return createWindow();
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    const detail =
      "4 GiB of addresses cannot be reserved (a limit of virtual memory, as ulimit -v)";
    throw hmmError({ code: "ENOMEM", call: "create", detail, cause });
  }
}
