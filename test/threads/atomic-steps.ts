/**
 * What threads may see of each other, in one thread: something happens before the n-th atomic
 * operation of a call, for every n. Another thread's call may come there; or the thread ends.
 */
const WRITES = ["store", "add", "exchange", "compareExchange"] as const;
const OPERATIONS = ["load", ...WRITES] as const;

class Ended extends Error {}

/** Runs `body`, and `between` before its n-th atomic operation. False: it has fewer. */
export function interrupt(n: number, body: () => void, between: () => void): boolean {
  return before({ n, names: OPERATIONS, body, between });
}

/**
 * Runs `body` up to its n-th atomic write, which it does not do: others cannot tell where between
 * two writes a thread ended. False: it came to its end.
 */
export function endBefore(n: number, body: () => void): boolean {
  const between = (): never => {
    throw new Ended();
  };
  try {
    return before({ n, names: WRITES, body, between });
  } catch (error) {
    if (error instanceof Ended) return true;
    throw error;
  }
}

interface Interruption {
  readonly n: number;
  readonly names: readonly (typeof OPERATIONS)[number][];
  readonly body: () => void;
  readonly between: () => void;
}

function before({ n, names, body, between }: Interruption): boolean {
  const own = names.map((name) => [name, Atomics[name]] as const);
  const restore = (): void => {
    for (const [name, operation] of own) Object.assign(Atomics, { [name]: operation });
  };
  let count = 0;
  for (const [name, operation] of own) {
    const counted = (...args: readonly unknown[]): unknown => {
      if (++count === n) {
        restore();
        between();
      }
      return Reflect.apply(operation, Atomics, args);
    };
    Object.assign(Atomics, { [name]: counted });
  }
  try {
    body();
  } finally {
    restore();
  }
  return count >= n;
}
