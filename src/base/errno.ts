/**
 * Error numbers as Linux numbers them. Inside the engine a result is an int32: 0 or more is a
 * value, a negated errno is a failure (`-EFAULT`). Nothing but `machine/` turns one into an
 * exception.
 */

export const EPERM = 1;
export const ENOENT = 2;
export const EINTR = 4;
export const EIO = 5;
export const EAGAIN = 11;
export const ENOMEM = 12;
export const EACCES = 13;
export const EFAULT = 14;
export const EBUSY = 16;
export const EEXIST = 17;
export const ENODEV = 19;
export const EINVAL = 22;
export const ENOSPC = 28;
export const ENOSYS = 38;
export const ETIME = 62;
export const EOVERFLOW = 75;
export const EOPNOTSUPP = 95;
export const ETIMEDOUT = 110;

/** A value (>= 0) or a negated errno (< 0). */
export type Result = number;

const NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries({
    EPERM,
    ENOENT,
    EINTR,
    EIO,
    EAGAIN,
    ENOMEM,
    EACCES,
    EFAULT,
    EBUSY,
    EEXIST,
    ENODEV,
    EINVAL,
    ENOSPC,
    ENOSYS,
    ETIME,
    EOVERFLOW,
    EOPNOTSUPP,
    ETIMEDOUT,
  }).map(([name, number]) => [number, name]),
);

/** The name of an errno; its sign does not matter. 0 is "OK". */
export function errnoName(errno: number): string {
  if (errno === 0) return "OK";
  return NAMES.get(Math.abs(errno)) ?? `errno ${Math.abs(errno)}`;
}
