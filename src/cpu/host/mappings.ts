/**
 * Making and unmaking what a served window consists of: a memory file, two mappings of it, and
 * the descriptors. All or nothing: what fails half way is undone.
 */
import { assert, isPageAligned } from "../../base/index.ts";
import {
  EFD_CLOEXEC,
  EFD_NONBLOCK,
  type Linux,
  MADV_DONTFORK,
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_NORESERVE,
  MAP_PRIVATE,
  MAP_SHARED,
  MFD_CLOEXEC,
  PROT_READ,
  PROT_WRITE,
  succeed,
  unavailable,
} from "./linux.ts";
import type { Scratch } from "./scratch.ts";
import { type KernelFaults, Userfaultfd } from "./userfaultfd.ts";

/** Plain numbers, so that they can cross threads: addresses of mappings, open descriptors. */
export interface Mappings {
  /** Where the window begins. */
  readonly base: number;
  /** Where the direct map begins. */
  readonly direct: number;
  readonly memfd: number;
  readonly uffd: number;
  readonly doorbell: number;
  /** Faults inside system calls are told, too. */
  readonly kernelFaults: boolean;
}

const READ_WRITE = PROT_READ | PROT_WRITE;

export interface OpenOptions {
  /** The memory that a file is laid over. */
  readonly base: number;
  readonly bytes: number;
  readonly kernelFaults: KernelFaults;
}

/**
 * Lays a memory file over [base, base + bytes) and registers all of it. What may be refused comes
 * first, on the direct map, and touches nothing of the window. Throws `HostUnavailable`.
 */
export function openMappings(linux: Linux, scratch: Scratch, options: OpenOptions): Mappings {
  const { base, bytes } = options;
  assert(bytes > 0 && isPageAligned(base) && isPageAligned(bytes), "a window is made of pages");
  const undo: (() => void)[] = [];
  const descriptor = (call: string, fd: number): number => {
    if (fd < 0) throw unavailable(call, linux.errno());
    undo.push(() => linux.close(fd));
    return fd;
  };
  try {
    const memfd = descriptor("memfd_create", linux.memfdCreate("onespace", MFD_CLOEXEC));
    if (linux.ftruncate(memfd, bytes) < 0) throw unavailable("ftruncate", linux.errno());
    const shared = MAP_SHARED | MAP_NORESERVE;
    const direct = linux.mmap(0, bytes, READ_WRITE, shared, memfd, 0);
    if (direct < 0) throw unavailable("mmap", linux.errno());
    undo.push(() => linux.munmap(direct, bytes));
    const { uffd, kernelFaults } = Userfaultfd.openBest(linux, scratch, options.kernelFaults);
    undo.push(() => uffd.close());
    const doorbell = descriptor("eventfd", linux.eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    rehearse(uffd, direct, bytes);
    overlay(linux, { base, bytes, memfd });
    undo.push(() => restoreAnonymous(linux, base, bytes));
    // A child between fork and exec must not wait for faults that nobody serves for it.
    for (const address of [base, direct]) {
      succeed(linux, "madvise", linux.madvise(address, bytes, MADV_DONTFORK));
    }
    register(uffd, base, bytes);
    return { base, direct, memfd, uffd: uffd.fd, doorbell, kernelFaults };
  } catch (error) {
    for (const step of undo.reverse()) step();
    throw error;
  }
}

/** Registers the direct map for a moment: whether that works here is known before it counts. */
function rehearse(uffd: Userfaultfd, direct: number, bytes: number): void {
  register(uffd, direct, bytes);
  const result = uffd.unregister(direct, bytes);
  if (result < 0) throw unavailable("UFFDIO_UNREGISTER", -result);
}

function register(uffd: Userfaultfd, address: number, bytes: number): void {
  const result = uffd.register(address, bytes);
  if (result < 0) throw unavailable("UFFDIO_REGISTER", -result);
}

interface Overlay {
  readonly base: number;
  readonly bytes: number;
  readonly memfd: number;
}

function overlay(linux: Linux, { base, bytes, memfd }: Overlay): void {
  const flags = MAP_SHARED | MAP_FIXED | MAP_NORESERVE;
  if (linux.mmap(base, bytes, READ_WRITE, flags, memfd, 0) < 0) {
    throw unavailable("mmap", linux.errno());
  }
}

/** The descriptors and the direct map; what lies over the window stays. */
export function closeMappings(linux: Linux, mappings: Mappings, bytes: number): void {
  linux.munmap(mappings.direct, bytes);
  for (const fd of [mappings.uffd, mappings.memfd, mappings.doorbell]) linux.close(fd);
}

/** Memory as a WebAssembly.Memory had it before anything was laid over it, all zero. */
export function restoreAnonymous(linux: Linux, base: number, bytes: number): void {
  const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE;
  succeed(linux, "mmap", linux.mmap(base, bytes, READ_WRITE, flags, -1, 0));
}
