/**
 * Lends the lowest addresses of a space to an existing WebAssembly module. Whole and at once:
 * that costs nothing before they are touched, and what the module may use of them is a number.
 */
import { EEXIST } from "../base/index.ts";
import type { WasmMemory } from "../cpu/index.ts";
import { VM_READ, VM_WRITE } from "../mm/index.ts";
import type { EnginePort } from "./engine/index.ts";
import { errorCode, hmmError } from "./error.ts";
import { AsyncScope } from "./host/index.ts";
import { ask } from "./place/index.ts";
import { Adoption, type AdoptOptions, limitOf } from "./wasm/index.ts";

export interface AdoptParts {
  readonly memory: WasmMemory;
  readonly port: EnginePort;
  /** As `Space.need`. */
  readonly need: (address: number, bytes: number, write: boolean) => void;
}

/** Throws EBUSY when there is a module already, and what `Adoption` throws. */
export async function adoptInto(parts: AdoptParts, options: AdoptOptions): Promise<Adoption> {
  const { memory, port, need } = parts;
  const bytes = limitOf(options);
  const flags = VM_READ | VM_WRITE;
  const result = await ask({ port, call: "adopt" }, "mmap", {
    bytes,
    flags,
    address: 0,
    isLow: true,
  });
  if (result < 0) {
    const detail =
      result === -EEXIST
        ? "the lowest addresses are taken, by a module or by a mapping; use a second machine"
        : `${bytes} bytes at address 0 cannot be mapped`;
    throw hmmError({
      code: result === -EEXIST ? "EBUSY" : errorCode(result),
      call: "adopt",
      detail,
    });
  }
  let usable = 0;
  const check = (call: string): void => port.check(call);
  const map = (wanted: number): void => {
    check("adopt");
    if (wanted > usable) need(usable, wanted - usable, true);
    usable = Math.max(usable, wanted);
  };
  try {
    return new Adoption({ memory, map, check }, options, new AsyncScope());
  } catch (error) {
    await port.call("munmap", { start: 0, bytes });
    throw error;
  }
}
