/**
 * The C library, as far as page faults need it: bound once a thread, when it is first asked for,
 * so that a machine without it can still load everything else. Addresses are plain numbers (a
 * process has 47 bits of them) and structures lie in native scratch memory, so a call costs a
 * quarter of a microsecond and no BigInt is made.
 */
import { createRequire } from "node:module";
import { assert, errnoName, PAGE_SIZE } from "../../base/index.ts";
import { HostUnavailable } from "./unavailable.ts";

export const PROT_NONE = 0;
export const PROT_READ = 1;
export const PROT_WRITE = 2;
export const MAP_SHARED = 0x01;
export const MAP_PRIVATE = 0x02;
export const MAP_FIXED = 0x10;
export const MAP_ANONYMOUS = 0x20;
export const MAP_NORESERVE = 0x4000;
export const MADV_DONTNEED = 4;
export const MADV_DONTFORK = 10;
export const MFD_CLOEXEC = 1;
export const FALLOC_FL_KEEP_SIZE = 1;
export const FALLOC_FL_PUNCH_HOLE = 2;
export const SEEK_DATA = 3;
export const SEEK_HOLE = 4;
export const O_NONBLOCK = 0o4000;
export const O_CLOEXEC = 0o2000000;
export const EFD_NONBLOCK = O_NONBLOCK;
export const EFD_CLOEXEC = O_CLOEXEC;
export const POLLIN = 1;

/** Errors of these calls that the engine itself never answers. */
const ENFILE = 23;
const EMFILE = 24;

/** System call numbers of userfaultfd, which the C library does not wrap. */
const SYS_USERFAULTFD: Readonly<Record<string, number>> = { x64: 323, arm64: 282 };

type Mmap = [
  address: number,
  bytes: number,
  protection: number,
  flags: number,
  fd: number,
  offset: number,
];

/** Every call answers as C does: -1 for an error, which `errno` tells. */
export interface Linux {
  readonly mmap: (...where: Mmap) => number;
  readonly munmap: (address: number, bytes: number) => number;
  readonly madvise: (address: number, bytes: number, advice: number) => number;
  readonly mprotect: (address: number, bytes: number, protection: number) => number;
  readonly memfdCreate: (name: string, flags: number) => number;
  readonly ftruncate: (fd: number, bytes: number) => number;
  readonly fallocate: (fd: number, mode: number, offset: number, bytes: number) => number;
  readonly lseek: (fd: number, offset: number, whence: number) => number;
  readonly close: (fd: number) => number;
  readonly eventfd: (initial: number, flags: number) => number;
  readonly userfaultfd: (flags: number) => number;
  readonly ioctl: (fd: number, request: number, argument: number) => number;
  readonly read: (fd: number, address: number, bytes: number) => number;
  readonly ppoll: (address: number, count: number, timeout: number, mask: number) => number;
  /** The error of the last call that answered -1. */
  readonly errno: () => number;
  /** The address of a typed array's first byte. */
  readonly addressOf: (array: Uint8Array) => number;
  /** A plain ArrayBuffer on native memory: nothing is copied, and nothing is freed with it. */
  readonly view: (address: number, bytes: number) => ArrayBuffer;
}

type Koffi = typeof import("koffi");

let bound: Linux | undefined;

/** The bindings of this thread. Throws `HostUnavailable` where there cannot be any. */
export function loadLinux(): Linux {
  bound ??= bind();
  return bound;
}

function bind(): Linux {
  if (process.platform !== "linux") {
    throw new HostUnavailable(
      `page faults are served on Linux only (this is ${process.platform})`,
      "run on Linux 6.4 or later, or keep to access brackets",
    );
  }
  const number = SYS_USERFAULTFD[process.arch];
  if (number === undefined) {
    throw new HostUnavailable(
      `page faults are served on x64 and arm64 only (this is ${process.arch})`,
      "keep to access brackets",
    );
  }
  const koffi = loadKoffi();
  const libc = koffi.load(null);
  const pageBytes = libc.func("getpagesize", "int", [])() as number;
  if (pageBytes !== PAGE_SIZE) {
    throw new HostUnavailable(
      `the pages of this kernel have ${pageBytes} bytes, not ${PAGE_SIZE}`,
      "boot a kernel with pages of 4 KiB, or keep to access brackets",
    );
  }
  return bindCalls(koffi, libc, number);
}

function loadKoffi(): Koffi {
  try {
    return createRequire(import.meta.url)("koffi") as Koffi;
  } catch (error) {
    const why = error instanceof Error ? error.message.split("\n")[0] : String(error);
    throw new HostUnavailable(
      `the package koffi cannot be loaded (${why})`,
      "install it with its optional dependencies: npm i koffi",
    );
  }
}

function bindCalls(koffi: Koffi, libc: ReturnType<Koffi["load"]>, number: number): Linux {
  const bindAs = <Call>(name: string, result: string, types: readonly string[]): Call =>
    libc.func(name, result, [...types]) as Call;
  const [address, size, fd, int] = ["uintptr_t", "size_t", "int", "int"];
  const syscall = bindAs<(number: number, flags: number) => number>("syscall", "long", [
    ...["long", int],
  ]);
  return {
    mmap: bindAs("mmap", "intptr_t", [address, size, int, int, fd, "long"]),
    munmap: bindAs("munmap", int, [address, size]),
    madvise: bindAs("madvise", int, [address, size, int]),
    mprotect: bindAs("mprotect", int, [address, size, int]),
    memfdCreate: bindAs("memfd_create", int, ["str", "uint"]),
    ftruncate: bindAs("ftruncate", int, [fd, "long"]),
    fallocate: bindAs("fallocate", int, [fd, int, "long", "long"]),
    lseek: bindAs("lseek", "long", [fd, "long", int]),
    close: bindAs("close", int, [fd]),
    eventfd: bindAs("eventfd", int, ["uint", int]),
    userfaultfd: (flags) => syscall(number, flags),
    ioctl: bindAs("ioctl", int, [fd, "ulong", address]),
    read: bindAs("read", "long", [fd, address, size]),
    ppoll: bindAs("ppoll", int, [address, "ulong", address, address]),
    errno: () => koffi.errno(),
    addressOf: (array) => Number(koffi.address(array)),
    view: (at, bytes) => koffi.view(at, bytes),
  };
}

/** The one place that puts an error of the host into words. */
export function describeErrno(call: string, errno: number): string {
  return `${call} answers ${nameOf(errno)}`;
}

function nameOf(errno: number): string {
  if (errno === EMFILE) return "EMFILE (this process has too many open files)";
  if (errno === ENFILE) return "ENFILE (this system has too many open files)";
  return errnoName(errno);
}

const CURES: Readonly<Record<number, string>> = {
  [EMFILE]: "raise the limit of open files (ulimit -n)",
  [ENFILE]: "raise the limit of open files (sysctl fs.file-max)",
};

/** Of a call that any Linux grants unless something has run out. */
export function unavailable(call: string, errno: number): HostUnavailable {
  const cure = CURES[errno] ?? "free memory or raise this process's limits";
  return new HostUnavailable(describeErrno(call, errno), cure);
}

/** `result` of a call that has no way to fail here: an error is a bug of ours. */
export function succeed(linux: Linux, call: string, result: number): number {
  assert(result >= 0, () => describeErrno(call, linux.errno()));
  return result;
}
