/** A window for one test, served page by page: `HostMemory` without an address space above it. */
import { onTestFinished } from "vitest";
import { type Vpn, vpn } from "../../../src/base/index.ts";
import { HostMemory, type HostMemoryOptions } from "../../../src/cpu/index.ts";
import { User, type UserAnswer } from "./host-user.ts";
import { hardwareRights, wasmMemory } from "./host-world.ts";

/** A function `run(address, value)` on an imported memory "e" "m". */
const moduleOf = (code: readonly number[]): number[] => [
  ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
  ...[0x01, 0x07, 0x01, 0x60, 0x02, 0x7f, 0x7f, 0x01, 0x7f],
  ...[0x02, 0x0b, 0x01, 0x01, 0x65, 0x01, 0x6d, 0x02, 0x03, 0x01, 0x80, 0x80, 0x04],
  ...[0x03, 0x02, 0x01, 0x00],
  ...[0x07, 0x07, 0x01, 0x03, 0x72, 0x75, 0x6e, 0x00, 0x00],
  ...[0x0a, code.length + 4, 0x01, code.length + 2, 0x00, ...code, 0x0b],
];

/** A scrap that runs such a function with a[0] and a[1]. */
const wasmScrap = (code: readonly number[]): string => `
  const module = new WebAssembly.Module(new Uint8Array([${moduleOf(code)}]));
  const { run } = new WebAssembly.Instance(module, { e: { m: memory } }).exports;
  return run(a[0], a[1]);
`;

/** i32.atomic.rmw.add: the word at a[0], to which a[1] is added. */
export const ADD_IN_WASM = wasmScrap([0x20, 0, 0x20, 1, 0xfe, 0x1e, 2, 0]);
/** i32.load: the word at a[0], plus a[1]. */
export const LOAD_IN_WASM = wasmScrap([0x20, 0, 0x28, 2, 0, 0x20, 1, 0x6a]);

/** What a test knows of a fault that it has read. */
export interface SeenFault {
  readonly page: Vpn;
  readonly address: number;
  readonly kind: string;
  readonly thread: number;
}

export class HostWindow {
  readonly wasm = wasmMemory(16 * 65_536);
  readonly memory: HostMemory;
  readonly users: User[] = [];

  constructor(options: HostMemoryOptions = {}) {
    this.memory = HostMemory.open(this.wasm.buffer, options);
  }

  async addUser(): Promise<User> {
    const user = await User.start(this.wasm);
    this.users.push(user);
    return user;
  }

  /** Waits for one fault and tells it. */
  nextFault(): SeenFault {
    const { memory } = this;
    for (let tries = 0; memory.readFaults() === 0; tries++) {
      if (tries === 100) throw new Error("nobody faults");
      memory.poll(100);
    }
    const words = [memory.isWrite(0) ? "write" : "read"];
    if (memory.isWriteProtect(0)) words.push("protected");
    if (memory.isMinor(0)) words.push("minor");
    return {
      page: memory.faultPage(0),
      address: memory.faultAddress(0),
      kind: words.join(" "),
      thread: memory.faultThread(0),
    };
  }

  /** The user's scrap ends without another fault. */
  async answer(user: User): Promise<UserAnswer> {
    for (let tries = 0; tries < 2000; tries++) {
      const answer = user.answer();
      if (answer !== undefined) return answer;
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    throw new Error("the user is stuck");
  }

  async value(user: User): Promise<unknown> {
    const answer = await this.answer(user);
    if (answer.error !== undefined) throw new Error(answer.error);
    return answer.value;
  }

  install(start: number, end: number, write: boolean): number {
    return this.memory.install(vpn(start), vpn(end), write);
  }

  /** What the hardware maps at pages [start, end): a letter each. */
  hardware(start: number, end: number): string {
    const letters = ["-", "r", "?", "w"];
    return [...hardwareRights(this.memory).subarray(start, end)].map((r) => letters[r]).join("");
  }
}

/** A window for the running test; given back, with everybody woken, when the test is over. */
export function hostWindow(options: HostMemoryOptions = {}): HostWindow {
  const window = new HostWindow(options);
  onTestFinished(async () => {
    window.memory.close();
    for (const user of window.users) await user.exit();
  });
  return window;
}
