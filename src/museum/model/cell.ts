/** What tasks share: words, and memory that can be freed. */
import { assert } from "../../base/index.ts";
import { Violation } from "../../explore/index.ts";
import type { Footprint } from "../../sync/index.ts";
import type { Model } from "./model.ts";

/** A shared word. Only `value` counts as touching it. */
export class Cell<T> {
  readonly name: string;
  readonly #footprint: Footprint | undefined;
  readonly #object: number;
  #value: T;

  constructor(model: Model, name: string, value: T) {
    this.name = name;
    this.#footprint = model.footprint;
    this.#object = this.#footprint?.newObject() ?? 0;
    this.#value = value;
  }

  get value(): T {
    this.#footprint?.read(this.#object);
    return this.#value;
  }

  set value(value: T) {
    this.#footprint?.write(this.#object);
    this.#value = value;
  }
}

/** Memory that is used while it is there: touching it after `free` is a use after free. */
export class Thing {
  readonly name: string;
  readonly #isFreed: Cell<boolean>;

  constructor(model: Model, name: string) {
    this.name = name;
    this.#isFreed = model.cell(`${name} is freed`, false);
  }

  get isFreed(): boolean {
    return this.#isFreed.value;
  }

  /** Touches it: to be called within a step by whoever follows a pointer to it. */
  use(how: string): void {
    if (this.isFreed) throw new Violation("use-after-free", `${how}: ${this.name} is freed`);
  }

  free(): void {
    if (this.isFreed) throw new Violation("use-after-free", `${this.name} is freed twice`);
    this.#isFreed.value = true;
  }

  /** The memory is handed out again, to somebody else. */
  reuse(): void {
    assert(this.isFreed, "only freed memory is handed out again");
    this.#isFreed.value = false;
  }
}
