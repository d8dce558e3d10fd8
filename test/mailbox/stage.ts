/**
 * A mailbox whose client and server are on one thread, step by step: calls that are promises
 * need no second one.
 */
import { expect } from "vitest";
import {
  type Call,
  MailboxClient,
  type MailboxOptions,
  MailboxServer,
  newMailbox,
} from "../../src/machine/host/mailbox/index.ts";
import { MailboxMemory, SlotWord, State } from "../../src/machine/host/mailbox/memory.ts";

export function build(
  options: MailboxOptions = {},
  shared = newMailbox({ slots: 4, partBytes: 1024, ...options }),
) {
  const server = new MailboxServer(shared);
  const client = new MailboxClient(shared);
  const memory = new MailboxMemory(shared);
  return { shared, server, client, memory };
}

/** All calls that the server has now. */
export function takeAll(server: MailboxServer): Call[] {
  const calls: Call[] = [];
  for (let call = server.next(); call !== undefined; call = server.next()) calls.push(call);
  return calls;
}

/** Settles as `promise` does; calls are served by `answer` until then, promises run in between. */
export async function served<T>(
  server: MailboxServer,
  promise: Promise<T>,
  answer: (call: Call) => void = (call) => call.reply(call.request),
): Promise<T> {
  let isDone = false;
  const settled = promise.finally(() => {
    isDone = true;
  });
  settled.catch(() => undefined);
  while (!isDone) {
    for (const call of takeAll(server)) answer(call);
    await new Promise((resolve) => setImmediate(resolve));
  }
  return settled;
}

export const ownersOf = (memory: MailboxMemory): bigint[] =>
  Array.from({ length: memory.slotCount }, (_, slot) => memory.owner(slot));
export const statesOf = (memory: MailboxMemory): number[] =>
  Array.from({ length: memory.slotCount }, (_, slot) => memory.load(slot, SlotWord.state));

/** After everything: every slot is free and idle. */
export function expectAllFree(memory: MailboxMemory): void {
  expect(ownersOf(memory)).toEqual(new Array(memory.slotCount).fill(0n));
  expect(statesOf(memory)).toEqual(new Array(memory.slotCount).fill(State.idle));
}
