/** What a thread that waits in a page fault was doing. */
import { readFileSync } from "node:fs";

/**
 * The kernel faults for `thread` (a Linux thread id of this process), within a system call, so
 * that a bad access is an error of that call and no mistake that ends the process. False where
 * Linux does not say.
 */
export function isInSystemCall(thread: number): boolean {
  try {
    // "-1" for a thread that is in no call; else its number and arguments.
    return !/^(-1|running)\b/.test(readFileSync(`/proc/self/task/${thread}/syscall`, "utf8"));
  } catch {
    return false;
  }
}
