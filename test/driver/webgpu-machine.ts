/**
 * A machine with a software device for tests, or the reason why there is none. Every test ends
 * with the checkers and with nothing leaked.
 */
import { HmmError, Machine, type MachineOptions } from "../../src/machine/index.ts";

const MEBI = 2 ** 20;

export const mebibytes = (count: number): number => count * MEBI;

/** Why no WebGPU device can be had here, or undefined when one can. Asked once a test file. */
export async function whyNoDevice(): Promise<string | undefined> {
  try {
    const machine = await Machine.create({ cpu: "scoped", deviceMemory: MEBI });
    await machine.close();
    return undefined;
  } catch (error) {
    if (error instanceof HmmError && error.code === "ENODEV") return error.message;
    throw error;
  }
}

/** Runs `body` on a fresh portable machine, checks that all adds up, and closes it. */
export async function withMachine(
  options: MachineOptions,
  body: (machine: Machine) => Promise<void>,
): Promise<void> {
  const machine = await Machine.create({ cpu: "scoped", ...options });
  try {
    await body(machine);
    machine.check();
  } catch (error) {
    // A failed test may leave brackets open: what it says matters more than the mess.
    await machine.close().catch(() => undefined);
    throw error;
  }
  await machine.close();
}

/** A permutation of 0 … count - 1 from a seed (Fisher and Yates with xorshift). */
export function permutation(count: number, seed: number): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, index) => index);
  let state = seed | 1;
  for (let i = count - 1; i > 0; i--) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    const j = (state >>> 0) % (i + 1);
    const kept = order[i]!;
    order[i] = order[j]!;
    order[j] = kept;
  }
  return order;
}
