/** Names for threads that are never used twice, and whether a thread is still there. */
import { readFileSync, readlinkSync } from "node:fs";
import { hmmError } from "../../error.ts";

/**
 * The kernel's number of a thread in the low half, the low half of its start time (clock ticks
 * since boot) in the high one. Linux uses a thread's number again, at the earliest after all
 * others: never within one tick. 0n is nobody.
 */
export type ThreadId = bigint;

export const NOBODY: ThreadId = 0n;

/** The thread that asks. Throws EOPNOTSUPP where there is no /proc. */
export function ownThread(): ThreadId {
  let number: number;
  try {
    number = Number(readlinkSync("/proc/thread-self").split("/").at(-1));
  } catch (cause) {
    const detail = "calls between threads need /proc/thread-self of Linux";
    throw hmmError({ code: "EOPNOTSUPP", call: "attach", detail, cause });
  }
  return BigInt.asIntN(64, (BigInt(startOf(number) ?? 0) << 32n) | BigInt(number));
}

/** The number that Linux and its tools know a thread by. */
export const threadNumber = (thread: ThreadId): number => Number(thread & 0xffff_ffffn);

/** Whether `thread` may still do something. It is thought alive while nobody can tell. */
export function isAlive(thread: ThreadId): boolean {
  try {
    return startOf(threadNumber(thread)) === Number(BigInt.asUintN(32, thread >> 32n));
  } catch {
    return true;
  }
}

/** When a thread of this process began, modulo 2^32 ticks; undefined when there is none. */
function startOf(number: number): number | undefined {
  let line: string;
  try {
    line = readFileSync(`/proc/self/task/${number}/stat`, "latin1");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ESRCH") return undefined;
    throw error;
  }
  // Field 2, the name, is in brackets and may hold anything: count from its end.
  const [state = "", ...fields] = line.slice(line.lastIndexOf(")") + 2).split(" ");
  if (state === "Z" || state === "X") return undefined;
  return Number(fields[START_TIME]) >>> 0;
}

/** starttime is field 22 (proc_pid_stat(5)); the fields here begin with 4. */
const START_TIME = 18;
