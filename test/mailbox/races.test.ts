/** The races that the drawings show, each brought about on one thread. */
import { closeSync, fstatSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { encode } from "../../src/machine/host/mailbox/codec.ts";
import { Exchange } from "../../src/machine/host/mailbox/exchange.ts";
import {
  type Call,
  MailboxClient,
  MailboxServer,
  newMailbox,
} from "../../src/machine/host/mailbox/index.ts";
import { Kind, MailboxMemory, State } from "../../src/machine/host/mailbox/memory.ts";
import { ownThread } from "../../src/machine/host/mailbox/thread.ts";
import { build, expectAllFree, statesOf } from "./stage.ts";

/** A thread that was never there: this one's number, another start. */
const GONE = ownThread() + (1n << 32n);
/** Where the thread ids are: the server's, who is at the door, the owner of slot 0. */
const DOOR = 9;
const OWNER = 1280 / 8;

describe("between a caller's look at 'closed' and at its slot", () => {
  it("the server may take the call and close: it is served all the same", () => {
    const { shared, server } = build();
    let call: Call | undefined;
    class Interrupted extends MailboxMemory {
      onLook: (() => void) | undefined;
      override get isClosed(): boolean {
        this.onLook?.();
        return super.isClosed;
      }
    }
    const memory = new Interrupted(shared);
    expect(memory.claim(0)).toBe(true);
    const letter = { call: "run", kind: Kind.call, bytes: encode("run", 1) };
    const exchange = new Exchange(memory, 0, letter);
    expect(exchange.step()).toBe(false);
    memory.onLook = () => {
      memory.onLook = undefined;
      call = server.next();
      server.close("no more");
    };
    expect([exchange.step(), statesOf(memory)[0]]).toEqual([false, State.serving]);
    call!.reply("served");
    expect(exchange.step()).toBe(true);
    expect(exchange.finish()()).toBe("served");
    expectAllFree(memory);
  });
});

describe("between the look at an owner and the news that it is gone", () => {
  it("the slot may have become another's, and is left alone", () => {
    const { shared, server, memory } = build();
    const threads = new BigInt64Array(shared);
    threads[OWNER] = GONE;
    const owner = MailboxMemory.prototype.owner;
    const spy = vi.spyOn(MailboxMemory.prototype, "owner").mockImplementation(function (
      this: MailboxMemory,
      slot: number,
    ) {
      const seen = owner.call(this, slot);
      if (slot === 0) threads[OWNER] = ownThread();
      return seen;
    });
    expect(server.reap()).toBe(0);
    spy.mockRestore();
    expect(memory.owner(0)).toBe(ownThread());
    threads[OWNER] = GONE;
    expect(server.reap()).toBe(1);
    expectAllFree(memory);
  });
});

describe("the doorbell", () => {
  /** A file in the place of an eventfd: it counts what is written. */
  const setUp = () => {
    const folder = mkdtempSync(join(tmpdir(), "onespace-doorbell-"));
    const doorbell = openSync(join(folder, "bell"), "w");
    onTestFinished(() => {
      closeSync(doorbell);
      rmSync(folder, { recursive: true });
    });
    const shared = newMailbox({ slots: 8 });
    const server = new MailboxServer(shared, { doorbell });
    const client = new MailboxClient(shared);
    const threads = new BigInt64Array(shared);
    const rings = (): number => fstatSync(doorbell).size / 8;
    return { server, client, threads, rings, memory: new MailboxMemory(shared) };
  };

  it("is rung only while the server says that it sleeps", async () => {
    const { server, client, rings } = setUp();
    const first = client.call(1);
    expect(rings()).toBe(0);
    server.next()!.reply(1);
    await first;
    expect(server.beforeSleep()).toBe(true);
    const calls = [client.call(2), client.call(3)];
    expect(rings()).toBe(2);
    server.afterSleep();
    for (let call = server.next(); call !== undefined; call = server.next()) call.reply(0);
    await Promise.all(calls);
    client.ring();
    expect(rings()).toBe(2);
  });

  it("is never rung by who comes after the end", async () => {
    for (const end of ["close", "die"] as const) {
      const { server, client, rings, memory } = setUp();
      expect(server.beforeSleep()).toBe(true);
      server[end]("over");
      const abort = new AbortController();
      const late = client.call({ name: "late" }, { signal: abort.signal });
      abort.abort();
      client.ring();
      await expect(late).rejects.toThrow("late: over (ENODEV)");
      expect([rings(), server.isQuiet()]).toEqual([0, true]);
      expectAllFree(memory);
    }
  });

  it("is rung without a slot by one thread at a time, and a dead one does not block the door", () => {
    const { server, client, threads, rings } = setUp();
    expect(server.beforeSleep()).toBe(true);
    client.ring();
    expect([rings(), threads[DOOR]]).toEqual([1, 0n]);
    threads[DOOR] = ownThread();
    expect(server.isQuiet()).toBe(false);
    client.ring();
    expect(rings()).toBe(1);
    threads[DOOR] = GONE;
    expect(server.isQuiet()).toBe(true);
    client.ring();
    expect([rings(), threads[DOOR]]).toEqual([2, 0n]);
    expect(server.beforeSleep()).toBe(false);
  });
});
