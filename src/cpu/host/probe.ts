/** Whether this machine can give a window real page faults, tried on one page. */
import { readFileSync } from "node:fs";
import { PAGE_SIZE } from "../../base/index.ts";
import {
  type Linux,
  loadLinux,
  MAP_ANONYMOUS,
  MAP_PRIVATE,
  PROT_READ,
  PROT_WRITE,
  unavailable,
} from "./linux.ts";
import { closeMappings, openMappings } from "./mappings.ts";
import { Scratch } from "./scratch.ts";
import { HostUnavailable, type Obstacle } from "./unavailable.ts";
import { openDescriptor } from "./userfaultfd.ts";

export interface HostProbe {
  /** Why `HostMemory.open` would fail; absent: it would not. */
  readonly obstacle: Obstacle | undefined;
  /** Faults inside system calls (`kernelFaults`): by what right they are served, or why not. */
  readonly kernelFaults: { readonly how: string } | Obstacle;
}

const SYSCTL = "/proc/sys/vm/unprivileged_userfaultfd";

/** Tries everything that `HostMemory.open` does, on one page, and gives it all back. */
export function probeHost(): HostProbe {
  const failed = tryOut(tryMappings);
  if (failed instanceof HostUnavailable) return { obstacle: failed, kernelFaults: failed };
  return { obstacle: undefined, kernelFaults: tryOut(tryKernelFaults) };
}

/** Why a window cannot have real page faults here; undefined: it can. */
export const whyNotHost = (): Obstacle | undefined => probeHost().obstacle;

function tryOut<T>(attempt: (linux: Linux) => T): T | HostUnavailable {
  try {
    return attempt(loadLinux());
  } catch (error) {
    if (error instanceof HostUnavailable) return error;
    throw error;
  }
}

function tryMappings(linux: Linux): void {
  const flags = MAP_PRIVATE | MAP_ANONYMOUS;
  const base = linux.mmap(0, PAGE_SIZE, PROT_READ | PROT_WRITE, flags, -1, 0);
  if (base < 0) throw unavailable("mmap", linux.errno());
  const scratch = new Scratch(linux);
  try {
    const options = { base, bytes: PAGE_SIZE, kernelFaults: false };
    closeMappings(linux, openMappings(linux, scratch, options), PAGE_SIZE);
  } finally {
    scratch.free();
    linux.munmap(base, PAGE_SIZE);
  }
}

function tryKernelFaults(linux: Linux): { readonly how: string } {
  const { fd, gate } = openDescriptor(linux, { kernelFaults: true });
  linux.close(fd);
  if (gate !== "userfaultfd(2)") return { how: `through ${gate}` };
  const isForAll = readSysctl() === "1";
  return { how: isForAll ? "vm.unprivileged_userfaultfd=1" : "CAP_SYS_PTRACE (root has it)" };
}

function readSysctl(): string {
  try {
    return readFileSync(SYSCTL, "utf8").trim();
  } catch {
    // Kernels before 5.2 have no such switch: everybody may.
    return "1";
  }
}
