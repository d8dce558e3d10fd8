/** Which code runs because of which call, across `await`: Node's asynchronous contexts. */
import { AsyncLocalStorage } from "node:async_hooks";

export class AsyncScope {
  readonly #storage = new AsyncLocalStorage<true>();

  /** What `body` starts, and what that starts, is inside until the end of its own days. */
  run<T>(body: () => Promise<T>): Promise<T> {
    // Node loads a WebAssembly module of its own (an HTTP parser) when somebody first looks at
    // this name. It must not be `body` who does.
    Reflect.get(globalThis, "Response");
    return this.#storage.run(true, body);
  }

  /** Whether the code that asks was started by a `run` of this scope, however indirectly. */
  get isInside(): boolean {
    return this.#storage.getStore() === true;
  }
}
