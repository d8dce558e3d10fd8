/** What a call does, and in which order. */

import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { hmmError } from "../../src/machine/error.ts";
import { MailboxClient, newMailbox } from "../../src/machine/host/mailbox/index.ts";
import { HeaderWord } from "../../src/machine/host/mailbox/memory.ts";
import { replayable } from "../replay/replay.ts";
import { build, expectAllFree, ownersOf, served, takeAll } from "./stage.ts";

describe("a call", () => {
  it("is with the server before the caller does anything else, and gives the answer", async () => {
    const { server, client, memory } = build();
    const promise = client.call<number>({ name: "double", value: 21 });
    const [call] = takeAll(server);
    expect(call!.request).toEqual({ name: "double", value: 21 });
    expect(call!.ownerThread).toBe(process.pid);
    call!.reply(42);
    expect(await promise).toBe(42);
    expectAllFree(memory);
  });

  it("crosses whole, whatever its size and the answer's, in parts if need be", async () => {
    const { server, client, memory } = build({ partBytes: 64 });
    const size = fc.nat(400);
    await fc.assert(
      fc.asyncProperty(size, size, async (up, down) => {
        const request = new Uint8Array(up).map((_, i) => i);
        const answer = await served(server, client.call<Uint8Array>(request), (call) => {
          expect(call.request).toStrictEqual(request);
          call.reply(new Uint8Array(down).map((_, i) => i + up));
        });
        expect(answer).toStrictEqual(new Uint8Array(down).map((_, i) => i + up));
      }),
      replayable("mailbox-calls"),
    );
    expectAllFree(memory);
  });

  it("is served in the order in which calls were made", async () => {
    const { server, client } = build({ slots: 40 });
    const first = [0, 1, 2].map((i) => client.call(i));
    const [a, b, c] = takeAll(server);
    b!.reply("b");
    await first[1];
    // The slot of call 1 is free again, between two that are older.
    const rest = [3, 4, 5].map((i) => client.call(i));
    const calls = takeAll(server);
    expect(calls.map(({ request }) => request)).toEqual([3, 4, 5]);
    for (const call of [a!, c!, ...calls]) call.reply(call.request);
    expect(await Promise.all([...first, ...rest])).toEqual([0, "b", 2, 3, 4, 5]);
  });

  it("throws what the server fails it with", async () => {
    const { server, client } = build();
    const failing = client.call({ name: "malloc" });
    const detail = "the heap is full".repeat(200);
    const cause = new RangeError("inner");
    server.next()!.fail(hmmError({ code: "ENOMEM", call: "malloc", detail, cause }));
    const error = await served(server, failing).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: "ENOMEM", call: "malloc", detail });
    expect((error as Error).cause).toBeInstanceOf(RangeError);
  });

  it("whose request is no data fails with EINVAL and takes no slot", async () => {
    const { server, client, memory } = build();
    const bad = { name: "upload", data: new SharedArrayBuffer(4) };
    await expect(client.call(bad)).rejects.toMatchObject({ code: "EINVAL", call: "upload" });
    expect(() => client.post(bad)).toThrow(/upload: what is sent must be data/);
    expectAllFree(memory);
    expect(server.next()).toBeUndefined();
  });

  it("whose answer is no data fails with EIO", async () => {
    const { server, client, memory } = build();
    const promise = served(server, client.call({}), (call) => call.reply(() => 1));
    await expect(promise).rejects.toMatchObject({ code: "EIO", cause: { code: "EINVAL" } });
    expectAllFree(memory);
  });

  it("is answered once", async () => {
    const { server, client } = build();
    const promise = client.call({});
    const call = server.next()!;
    call.reply(1);
    expect(call.isAnswered).toBe(true);
    expect(() => call.reply(2)).toThrow(/answered once/);
    expect(() => call.fail(new Error("x"))).toThrow(/answered once/);
    expect(() => call.progress([1])).toThrow(/makes no progress/);
    expect(await promise).toBe(1);
  });

  it("that blocks is refused on the kernel thread", () => {
    const { client, memory } = build();
    expect(() => client.callNow({})).toThrow(/cannot wait for itself/);
    expectAllFree(memory);
  });
});

describe("more calls than slots", () => {
  it("queue, and are served in their order", async () => {
    const { server, client, memory } = build();
    const calls = Array.from({ length: 50 }, (_, i) => client.call(i));
    const seen: unknown[] = [];
    await served(server, Promise.all(calls), (call) => {
      seen.push(call.request);
      call.reply(call.request);
    });
    expect(seen).toEqual(Array.from({ length: 50 }, (_, i) => i));
    expect(await Promise.all(calls)).toEqual(seen);
    expectAllFree(memory);
    expect(Atomics.load(memory.words, HeaderWord.waiters)).toBe(0);
  });

  it("leave a slot to callers that block", () => {
    const { server, client, memory } = build({ slots: 16 });
    for (let i = 0; i < 40; i++) client.call(i).catch(() => undefined);
    expect(takeAll(server)).toHaveLength(14);
    expect(ownersOf(memory).filter((owner) => owner === 0n)).toHaveLength(2);
    server.die("the test is over");
  });

  it("leave the queue when they are aborted there", async () => {
    const { server, client, memory } = build({ slots: 2 });
    const first = client.call("first");
    const abort = new AbortController();
    const second = client.call({ name: "second" }, { signal: abort.signal });
    const third = client.call("third");
    abort.abort("why");
    await expect(second).rejects.toMatchObject({ code: "EINTR", call: "second", cause: "why" });
    expect(await served(server, Promise.all([first, third]))).toEqual(["first", "third"]);
    expectAllFree(memory);
  });
});

describe("progress", () => {
  it("is the newest of what was reported, and seen before the answer", async () => {
    const { server, client, memory } = build();
    const seen: number[][] = [];
    const options = { onProgress: (values: Float64Array) => void seen.push([...values]) };
    const promise = client.call({}, options).then((answer) => seen.push([answer as number]));
    const call = server.next()!;
    call.progress([1, 2, 3, 4]);
    call.progress([5, 6.5]);
    await vi.waitFor(() => expect(seen).toEqual([[5, 6.5, 0, 0]]));
    // A wake without news reports nothing.
    memory.announce(0);
    await new Promise((resolve) => setTimeout(resolve, 20));
    call.progress([7]);
    call.reply(-1);
    await promise;
    expect(seen).toEqual([[5, 6.5, 0, 0], [7, 0, 0, 0], [-1]]);
  });

  it("of a call is not the next one's in the same slot", async () => {
    const { server, client } = build();
    const seen: number[] = [];
    const first = client.call({});
    const call = server.next()!;
    call.progress([1]);
    call.reply(0);
    await first;
    const options = { onProgress: ([value]: Float64Array) => void seen.push(value!) };
    await served(server, client.call({}, options));
    expect(seen).toEqual([]);
  });

  it("that the user's function cannot take aborts the call and is what it throws", async () => {
    const { server, client, memory } = build();
    const onProgress = vi.fn(() => {
      throw new RangeError("no display");
    });
    const promise = client.call({}, { onProgress });
    promise.catch(() => undefined);
    const call = server.next()!;
    call.progress([1]);
    await vi.waitFor(() => expect(call.isAborted).toBe(true));
    call.progress([2]);
    call.reply("fine");
    await expect(promise).rejects.toThrow(/no display/);
    expect(onProgress).toHaveBeenCalledTimes(1);
    expectAllFree(memory);
  });
});

describe("an abort", () => {
  it("before the call: nothing is sent", async () => {
    const { server, client } = build();
    const promise = client.call({ name: "run" }, { signal: AbortSignal.abort() });
    await expect(promise).rejects.toMatchObject({ code: "EINTR", call: "run" });
    expect(server.next()).toBeUndefined();
  });

  it("before the server took the call: it is not handed out", async () => {
    const { server, client, memory } = build();
    const abort = new AbortController();
    const promise = client.call({ name: "run" }, { signal: abort.signal });
    abort.abort();
    expect(server.next()).toBeUndefined();
    await expect(promise).rejects.toMatchObject({ code: "EINTR", call: "run" });
    expectAllFree(memory);
  });

  it("while it is served: the server is told once, and decides what to answer", async () => {
    const { server, client, memory } = build();
    const abort = new AbortController();
    const promise = client.call({}, { signal: abort.signal });
    const call = server.next()!;
    const onAborted = vi.fn();
    call.onAborted = onAborted;
    expect([server.next(), call.isAborted]).toEqual([undefined, false]);
    abort.abort();
    expect(call.isAborted).toBe(true);
    expect(server.beforeSleep()).toBe(false);
    memory.ask(0);
    expect([server.next(), server.next()]).toEqual([undefined, undefined]);
    expect(onAborted).toHaveBeenCalledTimes(1);
    call.reply("done all the same");
    expect(await promise).toBe("done all the same");
    // The next one in this slot is not aborted by it.
    expect(await served(server, client.call("next"))).toBe("next");
    expectAllFree(memory);
  });
});

describe("sleep", () => {
  it("is refused as long as anybody wants something", async () => {
    const { server, client } = build();
    expect(server.beforeSleep()).toBe(true);
    server.afterSleep();
    const promise = Promise.all([client.call(1), client.call(2)]);
    expect(server.beforeSleep()).toBe(false);
    const first = server.next()!;
    expect(server.beforeSleep()).toBe(false);
    const second = server.next()!;
    expect(server.beforeSleep()).toBe(true);
    server.afterSleep();
    client.ring();
    expect(server.beforeSleep()).toBe(false);
    expect([server.next(), server.beforeSleep()]).toEqual([undefined, true]);
    first.reply(1);
    second.reply(2);
    await promise;
  });

  it("ends at its limit, and its turns are counted", () => {
    const { server, client } = build();
    const start = performance.now();
    server.sleep(30);
    expect(performance.now() - start).toBeGreaterThan(25);
    server.beat();
    server.beat();
    expect(client.beats).toBe(2);
  });
});

describe("a post", () => {
  it("is served like a call, and nobody waits for it", async () => {
    const { server, client, memory } = build();
    client.post({ name: "free", at: 64 });
    const call = server.next()!;
    expect([call.request, call.isPost]).toEqual([{ name: "free", at: 64 }, true]);
    call.reply(undefined);
    await vi.waitFor(() => expectAllFree(memory));
  });

  it("that fails becomes a warning", async () => {
    const { server, client } = build();
    const warn = vi.spyOn(process, "emitWarning").mockImplementation(() => undefined);
    client.post({ name: "free" });
    server.next()!.fail(hmmError({ code: "EINVAL", call: "free", detail: "not allocated" }));
    await vi.waitFor(() => expect(warn).toHaveBeenCalledTimes(1));
    expect(warn.mock.calls[0]).toEqual([
      "free failed: HmmError: free: not allocated (EINVAL)",
      "OnespaceWarning",
    ]);
    warn.mockRestore();
  });
});

describe("a new mailbox", () => {
  it.each([
    [{ slots: 1 }, /slots must be from 2 to 1024, got 1/],
    [{ slots: 1025 }, /slots/],
    [{ slots: 2.5 }, /slots/],
    [{ partBytes: 60 }, /partBytes must be a multiple of 8 from 64, got 60/],
    [{ partBytes: 32 }, /partBytes/],
  ])("with %j is refused", (options, why) => {
    expect(() => newMailbox(options)).toThrow(why);
  });

  it("has one server, and is not any shared memory", () => {
    const { shared } = build();
    expect(() => build({}, shared)).toThrow(/one server/);
    expect(() => new MailboxClient(new SharedArrayBuffer(8192))).toThrow(/no mailbox/);
  });
});
