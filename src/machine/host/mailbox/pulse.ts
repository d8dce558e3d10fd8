/**
 * A timer that runs while something is under way: a promise on shared memory does not keep a
 * process alive, and nobody else would look whether the other side still is.
 */
export class Pulse {
  readonly #everyMs: number;
  readonly #beat: () => void;
  #timer: ReturnType<typeof setInterval> | undefined;
  #count = 0;
  /** Those of `count` that the process shall wait for. */
  #refCount = 0;

  constructor(everyMs: number, beat: () => void) {
    this.#everyMs = everyMs;
    this.#beat = beat;
  }

  begin(isRef: boolean): void {
    this.#count++;
    if (isRef) this.#refCount++;
    this.#timer ??= setInterval(() => this.#tick(), this.#everyMs);
    this.#apply();
  }

  end(isRef: boolean): void {
    this.#count--;
    if (isRef) this.#refCount--;
    this.#apply();
  }

  #apply(): void {
    if (this.#refCount > 0) this.#timer?.ref();
    else this.#timer?.unref();
  }

  /** The timer outlives short calls, so that a call does not cost one; it ends when it is idle. */
  #tick(): void {
    if (this.#count > 0) {
      this.#beat();
      return;
    }
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
