/**
 * A count of users. 0 is final: nothing comes back from it. Linux: struct kref.
 */
import { assert } from "../base/index.ts";

export class RefCount {
  readonly #name: string;
  #count = 1;

  constructor(name: string) {
    this.#name = name;
  }

  get count(): number {
    return this.#count;
  }

  get(): void {
    assert(this.#count > 0, () => `${this.#name} is gone: nobody may take it any more`);
    this.#count++;
  }

  /** Takes a reference unless the object is already dead. */
  getUnlessZero(): boolean {
    if (this.#count === 0) return false;
    this.#count++;
    return true;
  }

  /** True for the one call that gave back the last reference. */
  put(): boolean {
    assert(this.#count > 0, () => `${this.#name} is given back once too often`);
    return --this.#count === 0;
  }
}
