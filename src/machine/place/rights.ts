/** What a mapping is to be: `mmap` and `mprotect` ask the engine for it in these words. */
import { VM_READ, VM_WRITE } from "../../mm/index.ts";
import type { Ask } from "../engine/index.ts";
import { invalid } from "../error.ts";
import { checkOptions, show } from "../given.ts";
import { checkCount, pageAddress } from "./place.ts";

/** The rights of a mapping, as `mmap` and `mprotect` take them. */
export type Rights = "rw" | "r" | "none";

const RIGHTS: Readonly<Record<Rights, number>> = { rw: VM_READ | VM_WRITE, r: VM_READ, none: 0 };

export interface MmapOptions {
  readonly bytes: number;
  readonly rights?: Rights;
  /** Exactly there, or EEXIST. Default: anywhere. */
  readonly address?: number;
}

export function askToMap(call: string, options: MmapOptions): Ask<"mmap"> {
  checkOptions(call, options, ["bytes", "rights", "address"]);
  const { bytes, address } = options;
  const flags = rightsOf(call, options.rights ?? "rw");
  checkCount(call, "bytes", bytes);
  if (address === undefined) return { bytes, flags };
  return { bytes, flags, address: pageAddress(call, address) };
}

export function rightsOf(call: string, rights: Rights): number {
  const isRights = typeof rights === "string" && Object.hasOwn(RIGHTS, rights);
  const flags = isRights ? RIGHTS[rights] : undefined;
  if (flags !== undefined) return flags;
  throw invalid(call, `rights must be "rw", "r" or "none", got ${show(rights)}`);
}
