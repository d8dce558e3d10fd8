/** What the heap says when it has no room or is given what is no block. */
import { formatAddress } from "../../base/index.ts";
import { type HmmError, hmmError, invalid } from "../error.ts";
import { addressOf, showAddress } from "../given.ts";
import type { HeapUsage } from "./options.ts";

export function noRoom(call: string, bytes: number, usage: HeapUsage): HmmError {
  const { bytesFree, bytesFreeRun } = usage;
  const room = `${bytesFree} bytes are free, the largest free run is ${bytesFreeRun} bytes`;
  const detail = `no room for ${bytes} bytes: ${room}`;
  return hmmError({ code: "ENOMEM", call, detail });
}

export function notInHeap(call: string, address: unknown, start: number, end: number): HmmError {
  const range = `${formatAddress(start)}..${formatAddress(end)}`;
  const hint = addressOf(address) === undefined ? "" : ": pass its .address";
  const got = `${showAddress(address)}${hint}`;
  return invalid(call, `address must be a block of this heap (${range}), got ${got}`);
}

/** `begin`: of the block that the address lies in, or -1. */
export function noBlock(call: string, address: number, begin: number): HmmError {
  const what =
    begin < 0
      ? "is free already or was never allocated"
      : `lies inside a block, which begins at ${formatAddress(begin)}`;
  return invalid(call, `address ${showAddress(address)} ${what}`);
}

/** What is there is known to `owner` only; a negative one has ended. */
export function notOwn(call: string, address: number, owner: number): HmmError {
  const whose = owner < 0 ? "a thread that is gone" : `thread ${owner}`;
  return invalid(call, `address ${showAddress(address)} lies in pages of ${whose}`);
}
