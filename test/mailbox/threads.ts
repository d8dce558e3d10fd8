/**
 * Threads for the tests of mailboxes. Workers cannot load TypeScript, so a program is a function
 * whose text crosses: it may use what it is given and Node's globals, nothing of its module. What
 * it is given is the built mailbox.
 */
import { createRequire } from "node:module";
import { Worker } from "node:worker_threads";
import { onTestFinished } from "vitest";
import {
  MailboxClient,
  type MailboxOptions,
  newMailbox,
} from "../../src/machine/host/mailbox/index.ts";
import { MailboxMemory } from "../../src/machine/host/mailbox/memory.ts";

export const DOOR_URL = new URL("../../dist/machine/host/mailbox/index.js", import.meta.url).href;
export const KOFFI = createRequire(import.meta.url).resolve("koffi");

export interface Inside<Data> {
  readonly door: typeof import("../../src/machine/host/mailbox/index.ts");
  readonly data: Data;
  /** To the test. */
  readonly say: (message: unknown) => void;
  readonly load: NodeJS.Require;
}

export interface Thread {
  readonly worker: Worker;
  /** The next message. Rejects when the thread fails or ends without one. */
  hear(): Promise<unknown>;
}

/** Runs `program` on a thread that ends with the test at the latest. */
export function startThread<Data>(program: (inside: Inside<Data>) => unknown, data: Data): Thread {
  const text = `
    const { parentPort, workerData } = require("node:worker_threads");
    const say = (message) => parentPort.postMessage(message);
    import(${JSON.stringify(DOOR_URL)})
      .then((door) => (${program.toString()})({ door, data: workerData, say, load: require }))
      .catch((error) => setImmediate(() => { throw error; }));`;
  const worker = new Worker(text, { eval: true, workerData: data });
  const heard: unknown[] = [];
  let listener: (() => void) | undefined;
  let end: Error | undefined;
  worker.on("message", (message) => heard.push(message) && listener?.());
  worker.on("error", (error) => {
    end ??= error as Error;
    listener?.();
  });
  worker.on("exit", (code) => {
    end ??= new Error(`the thread has ended with ${code}`);
    listener?.();
  });
  onTestFinished(async () => void (await worker.terminate()));
  const hear = async (): Promise<unknown> => {
    while (heard.length === 0 && end === undefined) {
      await new Promise<void>((resolve) => {
        listener = resolve;
      });
    }
    if (heard.length === 0) throw end;
    return heard.shift();
  };
  return { worker, hear };
}

/** What the test's kernel thread does with a call, by its `name`. */
export type Order =
  | { readonly name: "echo"; readonly value?: unknown }
  /** Answers with so many bytes. */
  | { readonly name: "bytes"; readonly count: number }
  /** Never answers; "release" does it later. */
  | { readonly name: "hold" }
  | { readonly name: "release" }
  /** How many calls were held so far. */
  | { readonly name: "held" }
  | { readonly name: "note"; readonly value: number }
  /** The notes so far. */
  | { readonly name: "notes" }
  | { readonly name: "count"; readonly steps: number }
  | { readonly name: "fail" }
  | { readonly name: "reap" }
  | { readonly name: "close" }
  | { readonly name: "die" }
  | { readonly name: "crash" };

export interface KernelData {
  readonly shared: SharedArrayBuffer;
  /** Where koffi is: sleep in a real poll of a real eventfd. */
  readonly koffi?: string;
}

/** A kernel thread that does what it is told. */
function kernelProgram({ door, data, say, load }: Inside<KernelData>): void {
  // So long that a lost ring is a test that hangs.
  const sleepMs = 60_000;
  const openDoorbell = () => {
    const koffi = load(data.koffi!);
    const libc = koffi.load("libc.so.6");
    const eventfd = libc.func("int eventfd(unsigned int, int)");
    const read = libc.func("long read(int, _Out_ uint8_t *, size_t)");
    const poll = libc.func("int poll(void *, unsigned long, int)");
    const number: number = eventfd(0, 0o4000);
    const fds = Int32Array.of(number, 1);
    const count = new Uint8Array(8);
    const sleep = () => {
      poll(fds, 1, sleepMs);
      read(number, count, 8);
    };
    return { number, sleep, close: () => libc.func("int close(int)")(number) };
  };
  const doorbell = data.koffi === undefined ? undefined : openDoorbell();
  const server = new door.MailboxServer(data.shared, { doorbell: doorbell?.number ?? -1 });
  const held: import("../../src/machine/host/mailbox/index.ts").Call[] = [];
  const notes: number[] = [];
  let isOver = false;
  const serve = (call: import("../../src/machine/host/mailbox/index.ts").Call): unknown => {
    const order = call.request as Order;
    switch (order.name) {
      case "echo":
        return call.reply(order.value);
      case "bytes":
        return call.reply(new Uint8Array(order.count).map((_, i) => i * 7));
      case "hold":
        return void held.push(call);
      case "held":
        return call.reply(held.length);
      case "release":
        for (const each of held.splice(0)) each.reply("released");
        return call.reply(undefined);
      case "note":
        notes.push(order.value);
        return call.reply(undefined);
      case "notes":
        return call.reply(notes);
      case "count":
        for (let i = 0; i <= order.steps && !call.isAborted; i++) call.progress([i, -i]);
        return call.reply(call.isAborted ? "aborted" : "counted");
      case "fail":
        return call.fail(new RangeError("as told"));
      case "reap":
        return call.reply(server.reap());
      case "close":
        call.reply(undefined);
        server.close("closed by the test");
        for (const each of held.splice(0)) each.reply("before the end");
        isOver = true;
        return;
      case "die":
        server.die("died for the test");
        isOver = true;
        return;
      case "crash":
        throw new Error("crashed for the test");
    }
  };
  say("ready");
  for (;;) {
    for (let call = server.next(); call !== undefined; call = server.next()) serve(call);
    if (isOver) break;
    server.beat();
    if (doorbell === undefined) server.sleep(sleepMs);
    else {
      if (server.beforeSleep()) doorbell.sleep();
      server.afterSleep();
    }
  }
  say(server.drain(5000));
  doorbell?.close();
}

export interface Kernel extends Thread {
  readonly shared: SharedArrayBuffer;
  readonly client: MailboxClient;
  readonly memory: MailboxMemory;
}

/** A kernel thread that is up, and this thread's client of it. */
export async function startKernel(
  options: MailboxOptions = {},
  data: Partial<KernelData> = {},
): Promise<Kernel> {
  const shared = newMailbox(options);
  const thread = startThread(kernelProgram, { shared, ...data });
  await thread.hear();
  const client = new MailboxClient(shared);
  // A thread in a poll cannot be terminated: it has to be told first.
  onTestFinished(() => {
    // It may have ended with the test.
    client.call({ name: "close" } satisfies Order, { ref: false }).catch(() => undefined);
  });
  return { ...thread, shared, client, memory: new MailboxMemory(shared) };
}
