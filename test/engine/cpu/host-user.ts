/**
 * A user thread: touches a window that another thread serves. It runs scraps of JavaScript that a
 * test sends, and may be stuck in a page fault for as long as nobody serves that.
 */
import { MessageChannel, receiveMessageOnPort, Worker } from "node:worker_threads";
import type { WasmMemory } from "../../../src/cpu/index.ts";

/** Sleeps between scraps in `Atomics.wait`, so that it needs no event loop. */
const CODE = `
const { workerData, receiveMessageOnPort } = require("node:worker_threads");
const { memory, control, port } = workerData;
const names = ["u8", "u32", "i32", "memory", "control", "require", "a"];
const u8 = new Uint8Array(memory.buffer);
const u32 = new Uint32Array(memory.buffer);
const i32 = new Int32Array(memory.buffer);
for (;;) {
  Atomics.wait(control, 0, 0);
  Atomics.store(control, 0, 0);
  const { message } = receiveMessageOnPort(port);
  if (message.body === undefined) break;
  try {
    const run = new Function(...names, message.body);
    port.postMessage({ value: run(u8, u32, i32, memory, control, require, message.args) });
  } catch (error) {
    port.postMessage({ error: error.code ?? error.message });
  }
}
port.close();
`;

export interface UserAnswer {
  readonly value?: unknown;
  readonly error?: string;
}

export class User {
  /** Linux thread id: what faults are reported with. */
  thread = 0;
  /** Word 1 is the tests' own: scraps see it as `control[1]`. */
  readonly control = new Int32Array(new SharedArrayBuffer(8));
  readonly #worker: Worker;
  readonly #channel = new MessageChannel();
  readonly #hasExited: Promise<void>;

  private constructor(memory: WasmMemory) {
    const port = this.#channel.port2;
    const workerData = { memory, control: this.control, port };
    this.#worker = new Worker(CODE, { eval: true, workerData, transferList: [port] });
    this.#hasExited = new Promise((resolve) => this.#worker.once("exit", () => resolve()));
  }

  static async start(memory: WasmMemory): Promise<User> {
    const user = new User(memory);
    await new Promise((resolve) => user.#worker.once("online", resolve));
    user.begin('return Number(require("fs").readlinkSync("/proc/thread-self").split("/")[2])');
    for (let answer = user.answer(); user.thread === 0; answer = user.answer()) {
      if (answer !== undefined) user.thread = answer.value as number;
      await new Promise((resolve) => setImmediate(resolve));
    }
    return user;
  }

  /** Lets the user run the body of a function of u8, u32, i32, memory, control, require and a. */
  begin(body: string, args?: unknown): void {
    this.#send({ body, args });
  }

  /** What came of it, once it has ended; undefined before. */
  answer(): UserAnswer | undefined {
    return receiveMessageOnPort(this.#channel.port1)?.message as UserAnswer | undefined;
  }

  /** Ends the thread; it must not be stuck in a fault. */
  async exit(): Promise<void> {
    this.#send({});
    await this.#hasExited;
    this.#channel.port1.close();
  }

  #send(message: { readonly body?: string; readonly args?: unknown }): void {
    this.#channel.port1.postMessage(message);
    Atomics.store(this.control, 0, 1);
    Atomics.notify(this.control, 0);
  }
}
