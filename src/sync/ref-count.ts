/**
 * A count of users. 0 is final: nothing comes back from it. Linux: struct kref.
 */
import { assert } from "../base/index.ts";
import type { Shared } from "./footprint.ts";

export class RefCount {
  readonly #name: string;
  readonly #shared: Shared | undefined;
  #count = 1;

  /** `shared`: what an explorer knows it by. */
  constructor(name: string, shared?: Shared) {
    this.#name = name;
    this.#shared = shared;
  }

  get count(): number {
    this.#shared?.read();
    return this.#count;
  }

  get(): void {
    this.#shared?.write();
    assert(this.#count > 0, () => `${this.#name} is gone: nobody may take it any more`);
    this.#count++;
  }

  /** Takes a reference unless the object is already dead. */
  getUnlessZero(): boolean {
    this.#shared?.write();
    if (this.#count === 0) return false;
    this.#count++;
    return true;
  }

  /** True for the one call that gave back the last reference. */
  put(): boolean {
    this.#shared?.write();
    assert(this.#count > 0, () => `${this.#name} is given back once too often`);
    return --this.#count === 0;
  }
}
