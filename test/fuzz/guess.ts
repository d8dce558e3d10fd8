/**
 * What a word of memory holds, as far as a program can know. Almost always one value; after a
 * device write that failed half way, the old one or the new one, until somebody looks.
 */

export class Guess {
  #options: readonly bigint[];

  constructor(options: readonly bigint[]) {
    this.#options = options;
  }

  static of(value: bigint): Guess {
    return new Guess([value]);
  }

  /** This value, or `other`. */
  or(other: bigint): Guess {
    return this.allows(other) ? this : new Guess([...this.#options, other]);
  }

  get isCertain(): boolean {
    return this.#options.length === 1;
  }

  allows(value: bigint): boolean {
    return this.#options.includes(value);
  }

  /** Somebody looked: from now on it is known to everybody who holds this very guess. */
  settle(value: bigint): void {
    if (this.allows(value)) this.#options = [value];
  }

  toString(): string {
    return this.#options.map((each) => each.toString(16)).join(" or ");
  }
}

export const ZERO = Guess.of(0n);
