/**
 * The one exception of the public face. The engine answers `-errno`; here it becomes an error
 * that says which call failed, why, and, for a launch, which kernel touched what.
 */
import {
  EAGAIN,
  EBUSY,
  EEXIST,
  EFAULT,
  EINTR,
  EINVAL,
  EIO,
  ENODEV,
  ENOENT,
  ENOMEM,
  ENOSPC,
  ENOSYS,
  EOPNOTSUPP,
  EOVERFLOW,
  EPERM,
  ETIME,
  ETIMEDOUT,
  errnoName,
  formatAddress,
} from "../base/index.ts";

const ERRNOS = {
  EAGAIN,
  EBUSY,
  EEXIST,
  EFAULT,
  EINTR,
  EINVAL,
  EIO,
  ENODEV,
  ENOENT,
  ENOMEM,
  ENOSPC,
  ENOSYS,
  EOPNOTSUPP,
  EOVERFLOW,
  EPERM,
  ETIME,
  ETIMEDOUT,
} as const;

/** The name of an errno, as Linux spells it. */
export type ErrorCode = keyof typeof ERRNOS;

export interface HmmErrorInit {
  readonly code: ErrorCode;
  /** The function of the public face that failed: `malloc`, `munmap`, `run`. */
  readonly call: string;
  /** Lower case; names the argument, its value and the rule. */
  readonly detail: string;
  readonly cause?: unknown;
  /** For a launch: the kernel, and the access that ended it. */
  readonly kernel?: string;
  readonly address?: number;
  readonly access?: "read" | "write";
  readonly invocation?: number;
}

export class HmmError extends Error {
  override readonly name = "HmmError";
  readonly code: ErrorCode;
  /** The positive number behind `code`. */
  readonly errno: number;
  readonly call: string;
  readonly detail: string;
  // Declared only: an error that has none of these does not show them either.
  declare readonly kernel?: string;
  declare readonly address?: number;
  declare readonly access?: "read" | "write";
  declare readonly invocation?: number;

  constructor(init: HmmErrorInit) {
    super(messageOf(init), init.cause === undefined ? undefined : { cause: init.cause });
    this.code = init.code;
    this.errno = ERRNOS[init.code];
    this.call = init.call;
    this.detail = init.detail;
    const { kernel, address, access, invocation } = init;
    const launch = { kernel, address, access, invocation };
    for (const [key, value] of Object.entries(launch)) {
      if (value !== undefined) Object.defineProperty(this, key, { value, enumerable: true });
    }
  }
}

/** For `throw hmmError(…)`. */
export const hmmError = (init: HmmErrorInit): HmmError => new HmmError(init);

/** The most frequent one: the caller's argument breaks a rule. */
export const invalid = (call: string, detail: string, cause?: unknown): HmmError =>
  new HmmError({ code: "EINVAL", call, detail, cause });

/** The same error as that of `call`, which the program made; what failed was asked for by it. */
export function named(error: unknown, call: string): unknown {
  if (!(error instanceof HmmError) || error.call === call) return error;
  return new HmmError({ ...error, call, cause: error.cause });
}

/** The code of a negated (or plain) errno. One that has no name here is an input/output error. */
export function errorCode(errno: number): ErrorCode {
  const name = errnoName(errno);
  return name in ERRNOS ? (name as ErrorCode) : "EIO";
}

function messageOf(init: HmmErrorInit): string {
  const where: string[] = [];
  if (init.kernel !== undefined) where.push(`kernel ${init.kernel}`);
  if (init.invocation !== undefined) where.push(`invocation ${init.invocation}`);
  if (init.access !== undefined) where.push(init.access);
  if (init.address !== undefined) where.push(`at ${formatAddress(init.address)}`);
  const place = where.length === 0 ? "" : ` [${where.join(", ")}]`;
  return `${init.call}: ${init.detail}${place} (${init.code})`;
}
