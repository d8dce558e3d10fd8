/**
 * One userfaultfd: who asks is told of page faults in registered memory instead of the kernel
 * resolving them. Linux: Documentation/admin-guide/mm/userfaultfd.rst.
 */
import { closeSync, constants, openSync } from "node:fs";
import { assert, EAGAIN, EINTR, EINVAL, ENOSYS, EPERM, errnoName } from "../../base/index.ts";
import { describeErrno, type Linux, O_CLOEXEC, O_NONBLOCK, unavailable } from "./linux.ts";
import type { Scratch } from "./scratch.ts";
import { HostUnavailable } from "./unavailable.ts";

const UFFD_USER_MODE_ONLY = 1;
const UFFD_API = 0xaa;
const UFFD_EVENT_PAGEFAULT = 0x12;

const UFFDIO_REGISTER = 0xc020aa00;
const UFFDIO_UNREGISTER = 0x8010aa01;
const UFFDIO_WAKE = 0x8010aa02;
const UFFDIO_WRITEPROTECT = 0xc018aa06;
const UFFDIO_CONTINUE = 0xc020aa07;
const UFFDIO_API = 0xc018aa3f;
const USERFAULTFD_IOC_NEW = 0xaa00;

const UFFDIO_REGISTER_MODE_MISSING = 1 << 0;
const UFFDIO_REGISTER_MODE_WP = 1 << 1;
const UFFDIO_REGISTER_MODE_MINOR = 1 << 2;
const UFFDIO_WRITEPROTECT_MODE_WP = 1 << 0;
const UFFDIO_CONTINUE_MODE_WP = 1 << 1;

/** What the fault was: bits of `Message.flags`. */
export const UFFD_PAGEFAULT_FLAG_WRITE = 1 << 0;
export const UFFD_PAGEFAULT_FLAG_WP = 1 << 1;
export const UFFD_PAGEFAULT_FLAG_MINOR = 1 << 2;

/** What we need of the kernel, and since when it has that (write protection on arm64: 6.10). */
const FEATURES = [
  { name: "UFFD_FEATURE_THREAD_ID", bit: 1 << 8, since: "4.14" },
  { name: "UFFD_FEATURE_MINOR_SHMEM", bit: 1 << 10, since: "5.14" },
  { name: "UFFD_FEATURE_EXACT_ADDRESS", bit: 1 << 11, since: "5.18" },
  { name: "UFFD_FEATURE_WP_HUGETLBFS_SHMEM", bit: 1 << 12, since: "5.19" },
  // The release that also brought UFFDIO_CONTINUE_MODE_WP, which has no bit of its own.
  { name: "UFFD_FEATURE_WP_UNPOPULATED", bit: 1 << 13, since: "6.4" },
] as const;

const DEVICE = "/dev/userfaultfd";

export const MESSAGES_MAX = 64;
const MESSAGE_BYTES = 32;
const MESSAGE_WORDS = MESSAGE_BYTES / 4;

// words of the scratch page: messages, then the argument of an ioctl
const MESSAGES = 0;
const ARGUMENT = MESSAGES + MESSAGES_MAX * MESSAGE_WORDS;
/** The first word that this class leaves to others. */
export const SCRATCH_USED = ARGUMENT + 8;

/**
 * Whether faults are told that the kernel takes for a program, in a system call: yes, which needs
 * privilege; no; or where the system allows it.
 */
export type KernelFaults = boolean | "auto";

export interface UserfaultfdOptions {
  readonly kernelFaults: boolean;
}

/** How the descriptor was got: by the system call, or through the device file. */
export type Gate = "userfaultfd(2)" | typeof DEVICE;

export class Userfaultfd {
  readonly fd: number;
  readonly #linux: Linux;
  readonly #scratch: Scratch;

  /** Takes over a descriptor that is open already, with its handshake done. */
  constructor(linux: Linux, scratch: Scratch, fd: number) {
    this.#linux = linux;
    this.#scratch = scratch;
    this.fd = fd;
  }

  /** The best that `wanted` allows, and whether it tells faults of the kernel. */
  static openBest(
    linux: Linux,
    scratch: Scratch,
    wanted: KernelFaults,
  ): { readonly uffd: Userfaultfd; readonly kernelFaults: boolean } {
    if (wanted !== false) {
      try {
        const uffd = Userfaultfd.open(linux, scratch, { kernelFaults: true });
        return { uffd, kernelFaults: true };
      } catch (error) {
        if (wanted === true || !(error instanceof HostUnavailable)) throw error;
      }
    }
    const uffd = Userfaultfd.open(linux, scratch, { kernelFaults: false });
    return { uffd, kernelFaults: false };
  }

  /** Opens one and agrees on the features. Throws `HostUnavailable`. */
  static open(linux: Linux, scratch: Scratch, options: UserfaultfdOptions): Userfaultfd {
    const { fd } = openDescriptor(linux, options);
    const opened = new Userfaultfd(linux, scratch, fd);
    const wanted = FEATURES.reduce((bits, { bit }) => bits | bit, 0);
    if (opened.#handshake(wanted) < 0) {
      const errno = linux.errno();
      linux.close(fd);
      throw lackOfFeatures(Userfaultfd.offered(linux, scratch, options), errno);
    }
    return opened;
  }

  /** What the kernel offers, on a descriptor of its own; 0 when it will not say. */
  static offered(linux: Linux, scratch: Scratch, options: UserfaultfdOptions): number {
    const probe = new Userfaultfd(linux, scratch, openDescriptor(linux, options).fd);
    const offered = probe.#handshake(0) < 0 ? 0 : scratch.words[ARGUMENT + 2]!;
    linux.close(probe.fd);
    return offered;
  }

  #handshake(features: number): number {
    this.#scratch.set64(ARGUMENT, UFFD_API);
    this.#scratch.set64(ARGUMENT + 2, features);
    this.#scratch.set64(ARGUMENT + 4, 0);
    return this.#ioctl(UFFDIO_API);
  }

  /** From now on every fault in [address, address + bytes) is told here. 0 or -errno. */
  register(address: number, bytes: number): number {
    this.#range(address, bytes);
    const modes =
      UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR | UFFDIO_REGISTER_MODE_WP;
    this.#scratch.set64(ARGUMENT + 4, modes);
    this.#scratch.set64(ARGUMENT + 6, 0);
    return this.#result(UFFDIO_REGISTER);
  }

  /** The kernel resolves faults itself again; whoever waits goes on. */
  unregister(address: number, bytes: number): number {
    this.#range(address, bytes);
    return this.#result(UFFDIO_UNREGISTER);
  }

  /**
   * Maps pages that the memory file has, and wakes who waits for them. How many bytes, at least
   * a page: it stops before one that is mapped or a hole. -EEXIST when the first page is mapped
   * already (nobody is woken), -EFAULT when it is a hole, -EAGAIN: once more.
   */
  continue(address: number, bytes: number, write: boolean): number {
    this.#range(address, bytes);
    this.#scratch.set64(ARGUMENT + 4, write ? 0 : UFFDIO_CONTINUE_MODE_WP);
    this.#scratch.set64(ARGUMENT + 6, 0);
    if (this.#ioctl(UFFDIO_CONTINUE) >= 0) return bytes;
    const errno = this.#linux.errno();
    const mapped = this.#scratch.get64(ARGUMENT + 6);
    return errno === EAGAIN && mapped > 0 ? mapped : -errno;
  }

  /** The next write to each page is told. Nobody is woken. 0 or -errno. */
  protect(address: number, bytes: number): number {
    return this.#writeProtect(address, bytes, UFFDIO_WRITEPROTECT_MODE_WP);
  }

  /** Writes go through again, and who waits for that goes on. 0 or -errno. */
  unprotect(address: number, bytes: number): number {
    return this.#writeProtect(address, bytes, 0);
  }

  /** Who waits for a page of the range tries again. */
  wake(address: number, bytes: number): number {
    this.#range(address, bytes);
    return this.#result(UFFDIO_WAKE);
  }

  /** Reads up to 64 messages without waiting: how many. Throws when the descriptor is broken. */
  read(): number {
    const bytes = MESSAGES_MAX * MESSAGE_BYTES;
    const got = this.#linux.read(this.fd, this.#scratch.addressOf(MESSAGES), bytes);
    if (got >= 0) return got / MESSAGE_BYTES;
    const errno = this.#linux.errno();
    assert(errno === EAGAIN || errno === EINTR, () => `read of faults: ${errnoName(errno)}`);
    return 0;
  }

  /** Message `i` of the last read is a page fault: the only event that was asked for. */
  isFault(i: number): boolean {
    return (this.#scratch.words[messageAt(i)]! & 0xff) === UFFD_EVENT_PAGEFAULT;
  }

  /** `UFFD_PAGEFAULT_FLAG_…` of message `i`. */
  flags(i: number): number {
    return this.#scratch.words[messageAt(i) + 2]!;
  }

  /** The exact address that message `i` is about. */
  address(i: number): number {
    return this.#scratch.get64(messageAt(i) + 4);
  }

  /** The Linux thread id of who faulted. */
  thread(i: number): number {
    return this.#scratch.words[messageAt(i) + 6]!;
  }

  close(): void {
    this.#linux.close(this.fd);
  }

  #writeProtect(address: number, bytes: number, mode: number): number {
    this.#range(address, bytes);
    this.#scratch.set64(ARGUMENT + 4, mode);
    return this.#result(UFFDIO_WRITEPROTECT);
  }

  #range(address: number, bytes: number): void {
    this.#scratch.set64(ARGUMENT, address);
    this.#scratch.set64(ARGUMENT + 2, bytes);
  }

  #ioctl(request: number): number {
    return this.#linux.ioctl(this.fd, request, this.#scratch.addressOf(ARGUMENT));
  }

  #result(request: number): number {
    return this.#ioctl(request) < 0 ? -this.#linux.errno() : 0;
  }
}

const messageAt = (i: number): number => MESSAGES + i * MESSAGE_WORDS;

/**
 * A bare descriptor. Where the system call is forbidden (containers) the device file may still
 * be allowed: whoever can open it may have everything.
 */
export function openDescriptor(
  linux: Linux,
  { kernelFaults }: UserfaultfdOptions,
): { readonly fd: number; readonly gate: Gate } {
  const flags = O_CLOEXEC | O_NONBLOCK | (kernelFaults ? 0 : UFFD_USER_MODE_ONLY);
  const fd = linux.userfaultfd(flags);
  if (fd >= 0) return { fd, gate: "userfaultfd(2)" };
  const errno = linux.errno();
  const other = errno === EPERM || errno === ENOSYS ? openByDevice(linux, flags) : -1;
  if (other >= 0) return { fd: other, gate: DEVICE };
  throw refusal(errno, kernelFaults);
}

function openByDevice(linux: Linux, flags: number): number {
  let device: number;
  try {
    device = openSync(DEVICE, constants.O_RDWR);
  } catch {
    // Not there or not for us: then the answer of the system call stands.
    return -1;
  }
  const fd = linux.ioctl(device, USERFAULTFD_IOC_NEW, flags);
  closeSync(device);
  return fd;
}

/** Why there is no descriptor, the system call having answered `errno`. @forTests */
export function refusal(errno: number, kernelFaults: boolean): HostUnavailable {
  const said = describeErrno("userfaultfd", errno);
  if (errno === EPERM && kernelFaults) {
    return new HostUnavailable(
      `${said}: to serve faults inside system calls needs privilege`,
      KERNEL_FAULTS_CURE,
    );
  }
  if (errno === EPERM) {
    return new HostUnavailable(
      `${said}: a seccomp profile (containers) or a security module forbids it`,
      "run with a profile that allows userfaultfd " +
        `(docker: --security-opt seccomp=PROFILE) or with --device ${DEVICE}`,
    );
  }
  if (errno === ENOSYS) {
    return new HostUnavailable(
      `${said}: this kernel has none, or a sandbox hides it`,
      "run on a kernel with CONFIG_USERFAULTFD=y, outside of gVisor and its like",
    );
  }
  if (errno === EINVAL) {
    return new HostUnavailable(
      `${said}: this kernel knows no UFFD_USER_MODE_ONLY (5.11)`,
      "run on Linux 6.4 or later",
    );
  }
  return unavailable("userfaultfd", errno);
}

/** Three ways to the privilege that faults inside system calls need. */
export const KERNEL_FAULTS_CURE =
  "set sysctl vm.unprivileged_userfaultfd=1, let this user open " +
  `${DEVICE} for reading and writing, or run as root (CAP_SYS_PTRACE)`;

/** Why a handshake failed with `errno` on a kernel that offers these features. @forTests */
export function lackOfFeatures(offered: number, errno: number): HostUnavailable {
  const missing = FEATURES.filter(({ bit }) => (offered & bit) === 0);
  const last = missing.at(-1);
  if (last === undefined) return unavailable("UFFDIO_API", errno);
  return new HostUnavailable(
    `this kernel's userfaultfd lacks ${missing.map(({ name }) => name).join(", ")}`,
    `run on Linux ${last.since} or later${process.arch === "arm64" ? " (on arm64: 6.10)" : ""}`,
  );
}
