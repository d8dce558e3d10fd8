/** How it ends: closed, dead, and threads that are gone. */
import { Worker } from "node:worker_threads";
import { describe, expect, it, vi } from "vitest";
import { encode } from "../../src/machine/host/mailbox/codec.ts";
import type { Letter } from "../../src/machine/host/mailbox/exchange.ts";
import { MailboxClient } from "../../src/machine/host/mailbox/index.ts";
import { Kind, SlotWord, State } from "../../src/machine/host/mailbox/memory.ts";
import { OutgoingParts } from "../../src/machine/host/mailbox/parts.ts";
import { isAlive, ownThread, threadNumber } from "../../src/machine/host/mailbox/thread.ts";
import { build, expectAllFree, ownersOf, served, statesOf, takeAll } from "./stage.ts";

/** `ENODEV: why` of each, in order. */
async function outcomes(calls: readonly Promise<unknown>[]): Promise<string[]> {
  const settled = await Promise.allSettled(calls);
  return settled.map((each) => {
    if (each.status === "fulfilled") return String(each.value);
    const { code, call, detail } = each.reason as Record<string, string>;
    return `${code}: ${call}: ${detail}`;
  });
}

describe("a closed mailbox", () => {
  it("answers what it handed out, and refuses everything else", async () => {
    const { server, client, memory } = build({ slots: 8 });
    const large = "x".repeat(5000);
    const handedOut = client.call({ name: "handed out" });
    const taken = client.call({ name: "taken" });
    const call = server.next()!;
    const inParts = client.call({ name: "in parts", large });
    expect(server.next()!.request).toEqual({ name: "taken" });
    const sent = client.call({ name: "sent" });
    const all = [handedOut, taken, inParts, sent, client.call({ name: "small" })];
    const settled = outcomes(all);
    server.close("the machine is closed");
    expect(client.closedBecause).toBe("the machine is closed");
    all.push(client.call({ name: "late" }));
    call.reply("the answer");
    takeAll(server);
    expect(memory.isQuiet).toBe(false);
    expect(await outcomes([inParts, sent, all[4]!, all[5]!])).toEqual([
      "ENODEV: in parts: the machine is closed",
      "ENODEV: sent: the machine is closed",
      "ENODEV: small: the machine is closed",
      "ENODEV: late: the machine is closed",
    ]);
    expect(await handedOut).toBe("the answer");
    server.die("the thread has ended");
    expect((await settled).slice(0, 2)).toEqual([
      "the answer",
      "ENODEV: taken: the machine is closed",
    ]);
    expectAllFree(memory);
    expect(server.drain(0)).toBe(true);
  });

  it("fails what it took and did not hand out", async () => {
    const { server, client, memory } = build();
    const first = client.call({ name: "first" });
    const second = client.call({ name: "second" });
    const call = server.next()!;
    server.close("no more");
    expect(server.next()).toBeUndefined();
    call.reply(1);
    expect(await outcomes([first, second])).toEqual(["1", "ENODEV: second: no more"]);
    expectAllFree(memory);
  });

  it("still gives a large answer to who has begun to read it", async () => {
    const { server, client, memory } = build();
    const promise = client.call<string>({});
    const text = "y".repeat(5000);
    server.next()!.reply(text);
    server.close("no more");
    expect(server.isQuiet()).toBe(false);
    expect(await served(server, promise)).toBe(text);
    expect(server.isQuiet()).toBe(true);
    expectAllFree(memory);
  });

  it("does not drain while somebody holds a slot", async () => {
    const { server, client } = build();
    const promise = client.call({});
    const call = server.next()!;
    server.close("no more");
    expect(server.drain(20)).toBe(false);
    call.reply(1);
    await promise;
    expect(server.drain(20)).toBe(true);
  });

  it("refuses those who queue", async () => {
    const { server, client, memory } = build({ slots: 2 });
    const calls = [1, 2, 3].map((i) => client.call({ name: `call ${i}` }));
    server.next()!.reply("served");
    server.close("no more");
    expect(await outcomes(calls)).toEqual([
      "served",
      "ENODEV: call 2: no more",
      "ENODEV: call 3: no more",
    ]);
    expectAllFree(memory);
  });
});

describe("a dead kernel thread", () => {
  it("answers nobody: all are told why, in whatever state they are", async () => {
    const { server, client, memory } = build({ slots: 8 });
    const calls = ["served", "reading"].map((name) => client.call({ name }));
    const [served, reading] = takeAll(server);
    reading!.reply("z".repeat(5000));
    calls.push(client.call({ name: "sent" }), client.call({ name: "parts", x: "x".repeat(5000) }));
    server.die("assertion failed");
    served!.reply("too late");
    const told = ["served", "reading", "sent", "parts"];
    expect(await outcomes(calls)).toEqual(told.map((name) => `ENODEV: ${name}: assertion failed`));
    await expect(client.call({ name: "new" })).rejects.toThrow("new: assertion failed (ENODEV)");
    expect([client.closedBecause, server.next()]).toEqual(["assertion failed", undefined]);
    expectAllFree(memory);
  });

  it("died of the first reason, however long it is; but closed comes before dead", () => {
    const { server, client } = build();
    client.die("ä".repeat(1000));
    server.die("second");
    expect(client.closedBecause).toMatch(/^ä{200,}$/);
    server.close("closed");
    expect(client.closedBecause).toBe("closed");
  });
});

/** A thread of this process that has ended, as mailboxes name it. */
async function endedThread(): Promise<bigint> {
  const program = `
    const { readFileSync, readlinkSync } = require("node:fs");
    const tid = readlinkSync("/proc/thread-self").split("/").at(-1);
    const line = readFileSync("/proc/self/task/" + tid + "/stat", "latin1");
    const start = line.slice(line.lastIndexOf(")") + 2).split(" ")[19];
    require("node:worker_threads").parentPort.postMessage([tid, start]);
    setInterval(() => undefined, 1000);`;
  const worker = new Worker(program, { eval: true });
  const [tid, start] = await new Promise<string[]>((resolve) => worker.once("message", resolve));
  const thread = (BigInt(start!) << 32n) | BigInt(tid!);
  expect(isAlive(thread)).toBe(true);
  await worker.terminate();
  await vi.waitFor(() => expect(isAlive(thread)).toBe(false));
  return thread;
}

describe("a thread's name", () => {
  it("holds its number and when it began, so that another with this number is not it", () => {
    const self = ownThread();
    expect(threadNumber(self)).toBe(process.pid);
    expect([isAlive(self), isAlive(self + (1n << 32n)), isAlive(0n)]).toEqual([true, false, false]);
  });
});

describe("the slots of threads that are gone", () => {
  const setUp = async (slots = 8) => {
    const dead = await endedThread();
    const world = build({ slots });
    const { memory } = world;
    const owners = new BigInt64Array(world.shared, 1280);
    /** As if the owner of this slot had ended just now. */
    const orphan = (slot: number): void => {
      owners[slot * 16] = dead;
    };
    /** As if it had done so after it had sent `value`. */
    const leave = (slot: number, value: unknown, kind: Letter["kind"] = Kind.call): void => {
      orphan(slot);
      memory.store(slot, SlotWord.kind, kind);
      memory.store(slot, SlotWord.ticket, memory.nextTicket());
      new OutgoingParts(encode("test", value)).put(memory, slot);
      memory.store(slot, SlotWord.state, State.request);
    };
    return { ...world, dead, orphan, leave };
  };

  it.each(Object.entries(State))("are freed in state %s", async (_, state) => {
    const { server, client, memory, orphan, dead } = await setUp();
    orphan(2);
    memory.store(2, SlotWord.state, state);
    memory.store(2, SlotWord.abort, 1);
    expect(ownersOf(memory)[2]).toBe(dead);
    expect([server.reap(), server.reap()]).toEqual([1, 0]);
    expectAllFree(memory);
    expect(memory.load(2, SlotWord.abort)).toBe(0);
    expect(await served(server, Promise.all([0, 1, 2, 3].map((i) => client.call(i))))).toEqual([
      ...[0, 1, 2, 3],
    ]);
  });

  it("do not touch those of the living", async () => {
    const { server, client, memory, orphan } = await setUp();
    const promise = client.call("alive");
    orphan(5);
    expect([server.reap(), ownersOf(memory).filter((owner) => owner !== 0n).length]).toEqual([
      1, 1,
    ]);
    expect(await served(server, promise)).toBe("alive");
  });

  it("drop calls: nobody serves them, and who does already is told", async () => {
    const { shared, server, client, memory, leave } = await setUp();
    for (let slot = 0; slot < 3; slot++) leave(slot, { name: `call ${slot}` });
    for (let slot = 0; slot < 2; slot++) memory.ask(slot);
    const call = server.next()!;
    const onAborted = vi.fn();
    call.onAborted = onAborted;
    expect([call.request, call.isAborted]).toEqual([{ name: "call 0" }, false]);
    expect(server.reap()).toBe(3);
    expect([call.isAborted, onAborted.mock.calls.length]).toEqual([true, 1]);
    expect(server.next()).toBeUndefined();
    expectAllFree(memory);
    // The slot is another's now: the late answer must not get there.
    const other = client.call("other");
    const before = new Uint8Array(shared).slice();
    call.progress([1]);
    call.reply("late");
    expect(Buffer.compare(before, new Uint8Array(shared))).toBe(0);
    expect(statesOf(memory)[0]).toBe(State.request);
    server.next()!.reply("for the other");
    expect(await other).toBe("for the other");
    expectAllFree(memory);
  });

  it("forget what came of a request that goes on no more", async () => {
    const { server, client, memory, orphan } = await setUp();
    orphan(0);
    new OutgoingParts(encode("test", "x".repeat(5000))).put(memory, 0);
    memory.store(0, SlotWord.state, State.requestPart);
    memory.ask(0);
    expect([server.next(), statesOf(memory)[0]]).toEqual([undefined, State.takenPart]);
    expect(server.reap()).toBe(1);
    const text = "y".repeat(5000);
    expect(await served(server, client.call(text))).toBe(text);
    expectAllFree(memory);
  });

  it("keep posts: they were meant to outlive their thread", async () => {
    const { server, memory, leave } = await setUp();
    for (let slot = 0; slot < 4; slot++) leave(slot, slot, Kind.post);
    for (let slot = 0; slot < 2; slot++) memory.ask(slot);
    const first = server.next()!;
    memory.ask(2);
    // The last one's thread ended before it could say that the server shall look.
    expect(server.reap()).toBe(4);
    const calls = [first, ...takeAll(server)];
    expect(calls.map(({ request }) => request)).toEqual([0, 1, 2, 3]);
    for (const call of calls) {
      expect([call.isPost, call.isAborted]).toEqual([true, false]);
      call.reply(undefined);
    }
    expectAllFree(memory);
  });

  it("are freed when a caller finds none, and now and then anyway", async () => {
    const { server, client, memory, orphan } = await setUp(2);
    orphan(0);
    orphan(1);
    const promise = client.call("patient");
    const start = performance.now();
    expect(await served(server, promise)).toBe("patient");
    expect(performance.now() - start).toBeLessThan(3000);
    orphan(1);
    for (let i = 0; i < 4100; i++) await served(server, client.call(i));
    expectAllFree(memory);
  });
});

describe("a kernel thread that is gone without a word", () => {
  it("is noticed by who waits", async () => {
    const dead = await endedThread();
    const { shared } = build();
    new BigInt64Array(shared)[8] = dead;
    const client = new MailboxClient(shared);
    const told = "ENODEV: run: the kernel thread has ended";
    expect(await outcomes([client.call({ name: "run" })])).toEqual([told]);
    expect(() => client.callNow({ name: "late" })).toThrow(/late: the kernel thread has ended/);
  });
});
